// Before the page is painted: the chosen appearance, if one was chosen.
const tema = localStorage.getItem('tema');
if (tema) document.documentElement.dataset.tema = tema;
