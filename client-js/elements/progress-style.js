// How <groupcast-progress> looks and speaks. Pages change it by custom properties and `::part`.

export const STYLE = `
:host { display: block; font: inherit; --groupcast-color: #2563eb; --groupcast-track: #e2e8f0; --groupcast-error: #b91c1c; }
:host([hidden]) { display: none; }
[part=bar] { block-size: .5em; border-radius: 1em; background: var(--groupcast-track); overflow: hidden; }
[part=fill] { block-size: 100%; inline-size: 0; border-radius: inherit; background: var(--groupcast-color); transition: inline-size .2s; }
[part=bar]:not([aria-valuenow]) [part=fill] { inline-size: 30%; animation: wait 1.5s ease-in-out infinite alternate; }
:host([state=failure]) [part=fill], :host([state=revoked]) [part=fill] { background: var(--groupcast-error); inline-size: 100%; animation: none; }
:host([state=failure]) [part=text] { color: var(--groupcast-error); }
[role=status] { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@keyframes wait { to { margin-inline-start: 70%; } }
@media (prefers-reduced-motion: reduce) { [part=fill] { transition: none; animation: none; } }
@media (forced-colors: active) { [part=bar] { border: 1px solid; } [part=fill] { background: Highlight; forced-color-adjust: none; } }
`;

export const TEXTS = {
  en: {
    label: 'Progress',
    PENDING: 'Waiting', RECEIVED: 'Waiting', STARTED: 'Working', RETRY: 'Trying again',
    SUCCESS: 'Done', FAILURE: 'Failed', REVOKED: 'Cancelled',
    away: 'Connection lost, trying again', signedOut: 'Signed out',
    count: (done, total) => `${done} of ${total}`,
  },
  es: {
    label: 'Progreso',
    PENDING: 'En espera', RECEIVED: 'En espera', STARTED: 'En curso', RETRY: 'Otro intento',
    SUCCESS: 'Terminado', FAILURE: 'Falló', REVOKED: 'Cancelado',
    away: 'Sin conexión, reintentando', signedOut: 'Sesión cerrada',
    count: (done, total) => `${done} de ${total}`,
  },
};
