//! The reasons in Spanish.

use super::reason::Reason;
use crate::hub::GapRow;
use crate::layer::Surroundings;

/// One sentence or two about `sub` and `group`.
pub(super) fn sentence(reason: &Reason, sub: &str, group: &str) -> String {
    match reason {
        Reason::Connected { count, oldest } => format!(
            "El usuario {sub} tiene {count} conexión(es) abierta(s); la más antigua lleva {}.",
            span(*oldest),
        ),
        Reason::NotConnected => format!(
            "El usuario {sub} no está conectado a ninguna instancia, y ninguna recuerda una \
             conexión suya."
        ),
        Reason::Ended { end, ago } => format!(
            "El usuario {sub} no está conectado. Su última conexión terminó hace {} con el código \
             {} ({}), después de {}.",
            span(*ago),
            end.code,
            end.reason,
            span(end.ended.saturating_sub(end.opened)),
        ),
        Reason::EndedSlow { end, ago } => format!(
            "El usuario {sub} no está conectado: hace {} se cerró su conexión con el código 4508 \
             porque leía demasiado despacio; con ella se perdieron {} publicaciones.",
            span(*ago),
            end.dropped.lost(),
        ),
        Reason::CameLater { by } => format!(
            "El usuario {sub} se conectó {} después del momento por el que pregunta. Sin \
             historial, lo que el grupo recibió antes ya no está.",
            span(*by),
        ),
        Reason::TokenRefused { refusal, ago } => format!(
            "Hace {} se rechazó, con el código {}, una conexión con un token del usuario {sub}: \
             {}.",
            span(*ago),
            refusal.code,
            refusal.cause,
        ),
        Reason::HookRefused { count, refusal, ago } => format!(
            "En los últimos diez minutos el connect hook rechazó {count} conexión(es), la última \
             hace {} con el código {}: {}. No se sabe de quién eran, porque el sitio no lo dijo.",
            span(*ago),
            refusal.code,
            refusal.cause,
        ),
        Reason::NoGrant { asked: Some(ago) } => format!(
            "El usuario {sub} pidió entrar en {group} hace {} y se le rechazó: ningún permiso del \
             token ni de la configuración lo permite.",
            span(*ago),
        ),
        Reason::NoGrant { asked: None } => format!(
            "El usuario {sub} no está en {group} ni puede entrar: ningún permiso del token ni de \
             la configuración lo permite."
        ),
        other => of_delivery(other, sub, group),
    }
}

fn of_delivery(reason: &Reason, sub: &str, group: &str) -> String {
    match reason {
        Reason::OtherName { held } => format!(
            "El usuario {sub} no está en {group} sino en {}: quien envía y el navegador no usan \
             el mismo nombre.",
            held.join(", "),
        ),
        Reason::NotJoined { granted_by } => format!(
            "El usuario {sub} puede entrar en {group} ({granted_by}) pero no lo ha hecho: la \
             página no entra, o ha salido."
        ),
        Reason::Member { connections, group: row } => format!(
            "{connections} conexión(es) del usuario {sub} están en {group}, que tiene {} \
             miembro(s) en total{}.",
            row.members,
            row.offset.map_or_else(String::new, |offset| format!(" y va por la posición {offset}")),
        ),
        Reason::NobodyHolds => format!(
            "Nadie está en {group} en ninguna instancia, así que sus eventos no llegan a nadie."
        ),
        Reason::Slow { loss, waiting } => format!(
            "La conexión del usuario {sub} lee demasiado despacio: se descartaron {} \
             publicación(es) de {group} al llenarse su cola, y {waiting} esperan.",
            loss.dropped.capacity + loss.dropped.bytes,
        ),
        Reason::Expired { count } => format!(
            "{count} publicación(es) de {group} caducaron antes de que la conexión del usuario \
             {sub} las leyera."
        ),
        Reason::MailboxFull { ago } => format!(
            "Hace {} el buzón del que se recibe {group} estaba lleno, o ninguna instancia lo vació \
             a tiempo: lo que Django envió entonces puede haberse perdido.",
            span(*ago),
        ),
        Reason::Gap { gap, ago } => format!(
            "Hace {} se anunció al usuario {sub} un hueco en {group}: {}.",
            span(*ago),
            of(gap),
        ),
        Reason::Unlisted { event, path, count } => format!(
            "La ruta {path} enumera sus eventos, y {event:?} no está entre ellos: no se pasaron \
             {count} publicación(es) de {group}."
        ),
        Reason::Superseded { count } => format!(
            "{count} publicación(es) de {group} fueron sustituidas por otras más nuevas mientras \
             esperaban, como está configurado (overflow = \"latest\")."
        ),
        Reason::NothingSent { surroundings } => format!(
            "Aquí no se ha enviado nada a {group} desde que llegó su primer miembro. {}",
            elsewhere(surroundings.as_ref()),
        ),
        Reason::Written { group: row } => format!(
            "Todo lo enviado a {group} se escribió en la conexión del usuario {sub}; la última \
             publicación fue hace {}. Mire la propia página.",
            span(row.quiet.unwrap_or_default()),
        ),
        Reason::Silent { instances } => {
            let silent = instances.join(", ");
            format!("No respondieron a tiempo: {silent}. Falta lo que ellas saben.")
        }
        _ => String::new(),
    }
}

fn of(gap: &GapRow) -> String {
    let why = match gap.reason.as_str() {
        "slow" => "leía demasiado despacio",
        "expired" => "caducaron en su cola",
        _ => "se perdieron en su camino por Redis",
    };
    match (gap.lost, gap.range) {
        (Some(lost), Some((first, last))) => {
            format!("faltan {lost} publicación(es), de la {first} a la {last}, porque {why}")
        }
        (Some(lost), None) => format!("faltan {lost} publicación(es), porque {why}"),
        (None, _) => format!("pueden faltar publicaciones, porque {why}"),
    }
}

fn elsewhere(surroundings: Option<&Surroundings>) -> String {
    let Some(Surroundings { cluster, database, databases, other_clusters }) = surroundings else {
        return "Su capa es la memoria de este proceso: lo que se escribe en Redis, o se envía a \
                otro gateway, no llega aquí."
            .to_owned();
    };
    let others = databases.iter().filter(|it| *it != database).map(ToString::to_string);
    let others = others.collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "Este gateway lee el cluster {cluster:?} en la base de datos {database} de Redis: quien \
         envía con otro no llega a él."
    );
    if !others.is_empty() {
        text.push_str(&format!(" También hay claves en la base de datos {others}."));
    }
    if !other_clusters.is_empty() {
        text.push_str(&format!(" Otro cluster está activo: {}.", other_clusters.join(", ")));
    }
    text
}

/// Seconds as people say them.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} días", seconds / 86_400),
    }
}
