// The bell of a sale: two tones made by WebAudio. Off until somebody switches it on, which browsers want too.

import { $ } from './pintar.js';

const TONOS = [[880, 0], [1318.5, 0.12]];
let audio = null;

$('sonido').addEventListener('click', ({ currentTarget: boton }) => {
  const encendido = boton.getAttribute('aria-pressed') !== 'true';
  boton.setAttribute('aria-pressed', encendido);
  audio ??= new AudioContext();
  if (encendido) audio.resume().then(campana);
});

export function campana() {
  if ($('sonido').getAttribute('aria-pressed') !== 'true') return;
  $('sonido').dataset.veces = Number($('sonido').dataset.veces ?? 0) + 1;
  for (const [frecuencia, despues] of TONOS) {
    const inicio = audio.currentTime + despues;
    const tono = new OscillatorNode(audio, { frequency: frecuencia, type: 'sine' });
    const volumen = new GainNode(audio, { gain: 0 });
    volumen.gain.setTargetAtTime(0.18, inicio, 0.005);
    volumen.gain.setTargetAtTime(0, inicio + 0.08, 0.08);
    tono.connect(volumen).connect(audio.destination);
    tono.start(inicio);
    tono.stop(inicio + 0.7);
  }
}
