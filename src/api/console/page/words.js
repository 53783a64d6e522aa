// The words of the console in both languages; a test holds their keys equal.

const en = {
  skip: 'Skip to the content', language: 'Language', theme: 'Appearance', theme_system: 'System',
  theme_light: 'Light', theme_dark: 'Dark', leave: 'Sign out', views: 'Views',
  sign_in: 'Sign in', key: 'API key', enter: 'Enter',
  sign_in_hint: 'A key of this gateway with the right “console”.',
  key_unknown: 'This key is not configured.', forbidden: 'This key lacks the right.',
  too_many_guesses: 'Too many wrong keys from this address. Wait a second.',
  away: 'The gateway does not answer. Trying again.', live: 'Live', paused: 'Paused while hidden',
  silent: 'No answer from {0}.', none: 'None.', loading: 'Loading…', failed: 'It failed: {0}',
  now: 'Now', why: 'Why', groups: 'Groups', connections: 'Connections', slow: 'Slow readers',
  sources: 'Sources', back_end: 'Back end', tasks: 'Tasks', log: 'Log', tap: 'Tap', publish: 'Publish',
  now_hint: 'The last two minutes of each instance. The numbers are those of /metrics.',
  why_hint: 'Why did somebody not see an event? All instances are asked.',
  groups_hint: 'Groups with members, added up over all instances.',
  connections_hint: 'Of all instances. Fill in a field to find some.',
  slow_hint: 'Connections with a queue or with losses, the largest queue first.',
  sources_hint: 'Where events are drained from: mailboxes, the stream, RabbitMQ.',
  back_end_hint: 'The connect hook and calls to the site.',
  tasks_hint: 'Tasks of Celery, as the gateway sees them.',
  log_hint: 'The newest 200 warnings and errors of all instances.',
  tap_hint: 'The events of one group as they come, for five minutes at most. Their content is shown to keys that may read the group.',
  publish_hint: 'Sends one event to a group.',
  metric: 'Metric', instance: 'Instance', m_connections: 'Connections', m_groups: 'Groups',
  m_publications: 'Publications/s', m_deliveries: 'Deliveries/s', m_drops: 'Drops/s', m_gaps: 'Gaps/s',
  m_joins: 'Joins/s', m_closes: 'Closes/s', m_p50: 'Publish to write, median',
  m_p99: 'Publish to write, p99', m_probe: 'Layer probe', m_outbox_bytes: 'Waiting in outboxes',
  m_memory: 'Memory', m_layer: 'Layer', m_uptime: 'Running for', m_version: 'Version',
  layer_good: '✓ delivers', layer_losing: '! losing events', layer_away: '✗ away',
  busiest: 'Busiest groups now', rate: 'Publications/s', user: 'User', group: 'Group', at: 'Time',
  ask: 'Ask', cause: 'Cause', fact: 'Fact', nothing_wrong: 'Nothing is wrong as far as is known.',
  explained: 'Explained in {0}', his_connections: 'Connections of this user', search: 'Search',
  order: 'Order', show: 'Show', name: 'Name', members: 'Members', sent: 'Sent', dropped: 'Dropped',
  offset: 'Position', quiet: 'Last event', o_members: 'Most members', o_sent: 'Most sent',
  o_dropped: 'Most dropped', o_name: 'Name', o_newest: 'Newest', o_oldest: 'Oldest',
  o_waiting: 'Longest queue', id: 'Id', age: 'Age', protocol: 'Protocol', peer: 'Address',
  waiting: 'Waiting', heard: 'Last heard of', close: 'Close', close_title: 'Close this connection?',
  close_text: 'Connection {0} of user {1} is closed with code 4403: its client does not come back by itself.',
  cancel: 'Cancel', closed: 'Accepted: {0} is being closed.', more: 'More', value: 'Value',
  mean: 'mean', level: 'Level', error: '✗ Error', warning: '! Warning', text: 'Text', part: 'Part', start: 'Start', stop: 'Stop',
  tap_on: 'Showing {0} for at most five minutes.', tap_off: 'Stopped.', tap_missed: '{0} not shown: too many at once.',
  kind: 'Type', bytes: 'Size', content: 'Content', redacted: 'not shown', event: 'Event (JSON)',
  send: 'Send', accepted: 'Accepted, id {0}.', as_curl: 'The same with curl', no_json: 'This is no JSON object.',
  key_kept: 'KEY',
};

const es = {
  skip: 'Ir al contenido', language: 'Idioma', theme: 'Apariencia', theme_system: 'Del sistema',
  theme_light: 'Claro', theme_dark: 'Oscuro', leave: 'Salir', views: 'Vistas',
  sign_in: 'Entrar', key: 'Clave de API', enter: 'Entrar',
  sign_in_hint: 'Una clave de este gateway con el permiso «console».',
  key_unknown: 'Esta clave no está configurada.', forbidden: 'A esta clave le falta el permiso.',
  too_many_guesses: 'Demasiadas claves erróneas desde esta dirección. Espere un segundo.',
  away: 'El gateway no responde. Reintentando.', live: 'En vivo', paused: 'En pausa mientras no se ve',
  silent: 'Sin respuesta de {0}.', none: 'Nada.', loading: 'Cargando…', failed: 'Ha fallado: {0}',
  now: 'Ahora', why: 'Por qué', groups: 'Grupos', connections: 'Conexiones', slow: 'Lectores lentos',
  sources: 'Fuentes', back_end: 'Back end', tasks: 'Tareas', log: 'Registro', tap: 'Escucha', publish: 'Publicar',
  now_hint: 'Los dos últimos minutos de cada instancia. Los números son los de /metrics.',
  why_hint: '¿Por qué alguien no vio un evento? Se pregunta a todas las instancias.',
  groups_hint: 'Grupos con miembros, sumados sobre todas las instancias.',
  connections_hint: 'De todas las instancias. Rellene un campo para buscar.',
  slow_hint: 'Conexiones con cola o con pérdidas, la cola más larga primero.',
  sources_hint: 'De dónde se vacían los eventos: buzones, el stream, RabbitMQ.',
  back_end_hint: 'El connect hook y las llamadas al sitio.',
  tasks_hint: 'Las tareas de Celery, tal como las ve el gateway.',
  log_hint: 'Los 200 avisos y errores más nuevos de todas las instancias.',
  tap_hint: 'Los eventos de un grupo según llegan, cinco minutos como mucho. Su contenido se muestra a claves que pueden leer el grupo.',
  publish_hint: 'Envía un evento a un grupo.',
  metric: 'Métrica', instance: 'Instancia', m_connections: 'Conexiones', m_groups: 'Grupos',
  m_publications: 'Publicaciones/s', m_deliveries: 'Entregas/s', m_drops: 'Descartes/s', m_gaps: 'Huecos/s',
  m_joins: 'Entradas/s', m_closes: 'Cierres/s', m_p50: 'De publicar a escribir, mediana',
  m_p99: 'De publicar a escribir, p99', m_probe: 'Sonda de la capa', m_outbox_bytes: 'En espera en las colas',
  m_memory: 'Memoria', m_layer: 'Capa', m_uptime: 'En marcha', m_version: 'Versión',
  layer_good: '✓ entrega', layer_losing: '! pierde eventos', layer_away: '✗ no responde',
  busiest: 'Los grupos más activos ahora', rate: 'Publicaciones/s', user: 'Usuario', group: 'Grupo', at: 'Hora',
  ask: 'Preguntar', cause: 'Causa', fact: 'Dato', nothing_wrong: 'Hasta donde se sabe, no falla nada.',
  explained: 'Explicado en {0}', his_connections: 'Conexiones de este usuario', search: 'Buscar',
  order: 'Orden', show: 'Mostrar', name: 'Nombre', members: 'Miembros', sent: 'Enviados', dropped: 'Descartados',
  offset: 'Posición', quiet: 'Último evento', o_members: 'Más miembros', o_sent: 'Más enviados',
  o_dropped: 'Más descartes', o_name: 'Nombre', o_newest: 'Más nuevas', o_oldest: 'Más antiguas',
  o_waiting: 'Cola más larga', id: 'Id', age: 'Edad', protocol: 'Protocolo', peer: 'Dirección',
  waiting: 'En espera', heard: 'Última señal', close: 'Cerrar', close_title: '¿Cerrar esta conexión?',
  close_text: 'La conexión {0} del usuario {1} se cierra con el código 4403: su cliente no vuelve por sí mismo.',
  cancel: 'Cancelar', closed: 'Aceptado: {0} se está cerrando.', more: 'Más', value: 'Valor',
  mean: 'media', level: 'Nivel', error: '✗ Error', warning: '! Aviso', text: 'Texto', part: 'Parte', start: 'Empezar', stop: 'Parar',
  tap_on: 'Se muestra {0} durante cinco minutos como mucho.', tap_off: 'Parado.', tap_missed: '{0} sin mostrar: demasiados a la vez.',
  kind: 'Tipo', bytes: 'Tamaño', content: 'Contenido', redacted: 'no se muestra', event: 'Evento (JSON)',
  send: 'Enviar', accepted: 'Aceptado, id {0}.', as_curl: 'Lo mismo con curl', no_json: 'Esto no es un objeto JSON.',
  key_kept: 'CLAVE',
};

const all = { en, es };
export const languages = Object.keys(all);
let language = 'en';

export const current = () => language;
export const speak = (code) => { language = all[code] ? code : 'en'; };

/** The text of a key; {0} and {1} are replaced. */
export function t(key, ...values) {
  const text = all[language][key] ?? key;
  return values.reduce((done, value, at) => done.replace(`{${at}}`, () => String(value)), text);
}
