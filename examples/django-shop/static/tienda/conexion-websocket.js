// The twin: what the page had with Daphne, line by line. Nobody tells it what it missed while it was
// away, so it loads everything anew each time.

export function conectar({ ruta = '/ws/notificaciones/', recibir, recargar, estado, cerrada }) {
  let socket;

  function abrir() {
    estado('connecting');
    socket = new WebSocket(`${location.origin.replace('http', 'ws')}${ruta}`);
    socket.onopen = () => {
      estado('connected');
      recargar();
    };
    socket.onmessage = ({ data }) => recibir(JSON.parse(data));
    socket.onclose = ({ code }) => {
      if (code === 4401 || code === 4403) return cerrada({ code });
      estado('waiting');
      setTimeout(abrir, 3000);
    };
  }

  abrir();
  return { llamar: async (action, datos) => socket.send(JSON.stringify({ action, ...datos })) };
}
