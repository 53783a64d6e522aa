//! The reasons in words: each in English and, beside it, in Spanish.

use super::reason::Reason;
use crate::finding::SentenceLanguage;
use crate::hub::GapRow;
use crate::layer::Surroundings;

/// A text in English and in Spanish.
type Both = [String; 2];

/// One sentence or two about `sub` and `group`.
pub(super) fn sentence(
    reason: &Reason,
    sub: &str,
    group: &str,
    language: SentenceLanguage,
) -> String {
    let [english, spanish] = of_connections(reason, sub)
        .or_else(|| of_membership(reason, sub, group))
        .or_else(|| of_losses(reason, sub, group))
        .unwrap_or_else(|| of_sender(reason, sub, group));
    match language {
        SentenceLanguage::English => english,
        SentenceLanguage::Spanish => spanish,
    }
}

fn of_connections(reason: &Reason, sub: &str) -> Option<Both> {
    Some(match reason {
        Reason::Connected { count, oldest } => {
            let oldest = span(*oldest);
            [
                format!("User {sub} has {count} open connection(s); the oldest is {oldest} old."),
                format!(
                    "El usuario {sub} tiene {count} conexión(es) abierta(s); la más antigua lleva \
                     {oldest}."
                ),
            ]
        }
        Reason::NotConnected => [
            format!(
                "User {sub} is not connected to any instance, and none remembers a connection of \
                 this user."
            ),
            format!(
                "El usuario {sub} no está conectado a ninguna instancia, y ninguna recuerda una \
                 conexión suya."
            ),
        ],
        Reason::Ended { end, ago } => {
            let (ago, code, why) = (span(*ago), end.code, &end.reason);
            let lasted = span(end.ended.saturating_sub(end.opened));
            [
                format!(
                    "User {sub} is not connected. The last connection ended {ago} ago with code \
                     {code} ({why}), after {lasted}."
                ),
                format!(
                    "El usuario {sub} no está conectado. Su última conexión terminó hace {ago} con \
                     el código {code} ({why}), después de {lasted}."
                ),
            ]
        }
        Reason::EndedSlow { end, ago } => {
            let (ago, lost) = (span(*ago), end.dropped.lost());
            [
                format!(
                    "User {sub} is not connected: {ago} ago the connection was closed with code \
                     4508 because it read too slowly; {lost} publications were lost with it."
                ),
                format!(
                    "El usuario {sub} no está conectado: hace {ago} se cerró su conexión con el \
                     código 4508 porque leía demasiado despacio; con ella se perdieron {lost} \
                     publicaciones."
                ),
            ]
        }
        other => return of_arrivals(other, sub),
    })
}

fn of_arrivals(reason: &Reason, sub: &str) -> Option<Both> {
    Some(match reason {
        Reason::CameLater { by } => {
            let by = span(*by);
            [
                format!(
                    "User {sub} connected {by} after the time that you ask about. Without a \
                     history the group's earlier events are gone."
                ),
                format!(
                    "El usuario {sub} se conectó {by} después del momento por el que pregunta. Sin \
                     historial, lo que el grupo recibió antes ya no está."
                ),
            ]
        }
        Reason::TokenRefused { refusal, ago } => {
            let (ago, code, cause) = (span(*ago), refusal.code, &refusal.cause);
            [
                format!(
                    "{ago} ago a connection with a token of user {sub} was refused with code \
                     {code}: {cause}."
                ),
                format!(
                    "Hace {ago} se rechazó, con el código {code}, una conexión con un token del \
                     usuario {sub}: {cause}."
                ),
            ]
        }
        Reason::HookRefused { count, refusal, ago } => {
            let (ago, code, cause) = (span(*ago), refusal.code, &refusal.cause);
            [
                format!(
                    "In the last ten minutes {count} connection(s) were refused by the connect \
                     hook, the last {ago} ago with code {code}: {cause}. Whose they were is not \
                     known, since the site did not say."
                ),
                format!(
                    "En los últimos diez minutos el connect hook rechazó {count} conexión(es), la \
                     última hace {ago} con el código {code}: {cause}. No se sabe de quién eran, \
                     porque el sitio no lo dijo."
                ),
            ]
        }
        _ => return None,
    })
}

fn of_membership(reason: &Reason, sub: &str, group: &str) -> Option<Both> {
    Some(match reason {
        Reason::NoGrant { asked: Some(ago) } => {
            let ago = span(*ago);
            [
                format!(
                    "User {sub} asked to join {group} {ago} ago and was refused: no grant in the \
                     token or the configuration allows it."
                ),
                format!(
                    "El usuario {sub} pidió entrar en {group} hace {ago} y se le rechazó: ningún \
                     permiso del token ni de la configuración lo permite."
                ),
            ]
        }
        Reason::NoGrant { asked: None } => [
            format!(
                "User {sub} is not in {group} and may not join it: no grant in the token or the \
                 configuration allows it."
            ),
            format!(
                "El usuario {sub} no está en {group} ni puede entrar: ningún permiso del token ni \
                 de la configuración lo permite."
            ),
        ],
        other => return of_names(other, sub, group),
    })
}

fn of_names(reason: &Reason, sub: &str, group: &str) -> Option<Both> {
    Some(match reason {
        Reason::OtherName { held } => {
            let held = held.join(", ");
            [
                format!(
                    "User {sub} is not in {group} but in {held}: the sender and the browser do not \
                     use the same name."
                ),
                format!(
                    "El usuario {sub} no está en {group} sino en {held}: quien envía y el \
                     navegador no usan el mismo nombre."
                ),
            ]
        }
        Reason::NotJoined { granted_by } => [
            format!(
                "User {sub} may join {group} ({granted_by}) but has not: the page does not join \
                 it, or has left it."
            ),
            format!(
                "El usuario {sub} puede entrar en {group} ({granted_by}) pero no lo ha hecho: la \
                 página no entra, o ha salido."
            ),
        ],
        Reason::Member { connections, group: row } => {
            let members = row.members;
            let at = |words| row.offset.map_or_else(String::new, |it| format!("{words}{it}"));
            let (english, spanish) = (at(" and is at offset "), at(" y va por la posición "));
            [
                format!(
                    "{connections} connection(s) of user {sub} are in {group}, which has {members} \
                     member(s) in all{english}."
                ),
                format!(
                    "{connections} conexión(es) del usuario {sub} están en {group}, que tiene \
                     {members} miembro(s) en total{spanish}."
                ),
            ]
        }
        Reason::NobodyHolds => [
            format!("Nobody is in {group} on any instance, so its events go to nobody."),
            format!(
                "Nadie está en {group} en ninguna instancia, así que sus eventos no llegan a nadie."
            ),
        ],
        _ => return None,
    })
}

fn of_losses(reason: &Reason, sub: &str, group: &str) -> Option<Both> {
    Some(match reason {
        Reason::Slow { loss, waiting } => {
            let lost = loss.dropped.capacity + loss.dropped.bytes;
            [
                format!(
                    "The connection of user {sub} reads too slowly: {lost} publication(s) of \
                     {group} were dropped when its queue was full, and {waiting} wait."
                ),
                format!(
                    "La conexión del usuario {sub} lee demasiado despacio: se descartaron {lost} \
                     publicación(es) de {group} al llenarse su cola, y {waiting} esperan."
                ),
            ]
        }
        Reason::Expired { count } => [
            format!(
                "{count} publication(s) of {group} expired before the connection of user {sub} \
                 took them."
            ),
            format!(
                "{count} publicación(es) de {group} caducaron antes de que la conexión del usuario \
                 {sub} las leyera."
            ),
        ],
        Reason::Gap { gap, ago } => {
            let (ago, [english, spanish]) = (span(*ago), of_gap(gap));
            [
                format!("{ago} ago a gap in {group} was announced to user {sub}: {english}."),
                format!("Hace {ago} se anunció al usuario {sub} un hueco en {group}: {spanish}."),
            ]
        }
        Reason::Unlisted { event, path, count } => [
            format!(
                "The route {path} lists its events, and {event:?} is not among them: {count} \
                 publication(s) of {group} were not passed on."
            ),
            format!(
                "La ruta {path} enumera sus eventos, y {event:?} no está entre ellos: no se \
                 pasaron {count} publicación(es) de {group}."
            ),
        ],
        Reason::Superseded { count } => [
            format!(
                "{count} publication(s) of {group} were replaced by newer ones while they waited, \
                 as configured (overflow = \"latest\")."
            ),
            format!(
                "{count} publicación(es) de {group} fueron sustituidas por otras más nuevas \
                 mientras esperaban, como está configurado (overflow = \"latest\")."
            ),
        ],
        _ => return None,
    })
}

fn of_sender(reason: &Reason, sub: &str, group: &str) -> Both {
    match reason {
        Reason::MailboxFull { ago } => {
            let ago = span(*ago);
            [
                format!(
                    "{ago} ago the mailbox from which {group} is received was full, or no instance \
                     had emptied it in time: what Django sent then may be lost."
                ),
                format!(
                    "Hace {ago} el buzón del que se recibe {group} estaba lleno, o ninguna \
                     instancia lo vació a tiempo: lo que Django envió entonces puede haberse \
                     perdido."
                ),
            ]
        }
        Reason::NothingSent { surroundings } => {
            let [english, spanish] = elsewhere(surroundings.as_ref());
            [
                format!(
                    "Nothing has been sent to {group} here since its first member came. {english}"
                ),
                format!(
                    "Aquí no se ha enviado nada a {group} desde que llegó su primer miembro. \
                     {spanish}"
                ),
            ]
        }
        Reason::Written { group: row } => {
            let ago = span(row.quiet.unwrap_or_default());
            [
                format!(
                    "Everything sent to {group} was written to the connection of user {sub}; the \
                     last publication was {ago} ago. Look at the page itself."
                ),
                format!(
                    "Todo lo enviado a {group} se escribió en la conexión del usuario {sub}; la \
                     última publicación fue hace {ago}. Mire la propia página."
                ),
            ]
        }
        Reason::Silent { instances } => {
            let silent = instances.join(", ");
            [
                format!("No answer in time from {silent}: what they know is missing."),
                format!("No respondieron a tiempo: {silent}. Falta lo que ellas saben."),
            ]
        }
        // The others have their words above.
        _ => Both::default(),
    }
}

fn of_gap(gap: &GapRow) -> Both {
    let [why, motivo] = match gap.reason.as_str() {
        "slow" => ["it read too slowly", "leía demasiado despacio"],
        "expired" => ["they expired in its queue", "caducaron en su cola"],
        _ => ["they were lost on their way through Redis", "se perdieron en su camino por Redis"],
    };
    match (gap.lost, gap.range) {
        (Some(lost), Some((first, last))) => [
            format!("{lost} publication(s), offsets {first} to {last}, are missing, because {why}"),
            format!("faltan {lost} publicación(es), de la {first} a la {last}, porque {motivo}"),
        ],
        (Some(lost), None) => [
            format!("{lost} publication(s) are missing, because {why}"),
            format!("faltan {lost} publicación(es), porque {motivo}"),
        ],
        (None, _) => [
            format!("publications may be missing, because {why}"),
            format!("pueden faltar publicaciones, porque {motivo}"),
        ],
    }
}

/// Where a sender may be writing by mistake.
fn elsewhere(surroundings: Option<&Surroundings>) -> Both {
    let Some(Surroundings { cluster, database, databases, other_clusters }) = surroundings else {
        return [
            "Its layer is the memory of this process: what is written to Redis, or sent to \
             another gateway, does not come here."
                .to_owned(),
            "Su capa es la memoria de este proceso: lo que se escribe en Redis, o se envía a otro \
             gateway, no llega aquí."
                .to_owned(),
        ];
    };
    let others = databases.iter().filter(|it| *it != database).map(ToString::to_string);
    let others = others.collect::<Vec<_>>().join(", ");
    let clusters = other_clusters.join(", ");
    let mut english = format!(
        "This gateway reads cluster {cluster:?} in database {database} of Redis: a sender that \
         uses another does not reach it."
    );
    let mut spanish = format!(
        "Este gateway lee el cluster {cluster:?} en la base de datos {database} de Redis: quien \
         envía con otro no llega a él."
    );
    if !others.is_empty() {
        english.push_str(&format!(" There are keys in database {others}, too."));
        spanish.push_str(&format!(" También hay claves en la base de datos {others}."));
    }
    if !clusters.is_empty() {
        english.push_str(&format!(" Another cluster is live: {clusters}."));
        spanish.push_str(&format!(" Otro cluster está activo: {clusters}."));
    }
    [english, spanish]
}

/// Seconds in units that both languages write alike.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_told_as_exactly_as_it_is_known() {
        let known = GapRow { lost: Some(3), range: Some((5, 7)), ..GapRow::default() };
        let [english, spanish] = of_gap(&known);
        assert!(english.starts_with("3 publication(s), offsets 5 to 7"), "{english}");
        assert!(spanish.starts_with("faltan 3 publicación(es), de la 5 a la 7"), "{spanish}");
        let [english, _] = of_gap(&GapRow { reason: "slow".to_owned(), ..GapRow::default() });
        assert_eq!(english, "publications may be missing, because it read too slowly");
    }

    #[test]
    fn a_span_is_told_in_the_unit_that_fits() {
        let told = [0, 119, 120, 7199, 7200, 172_800].map(span);
        assert_eq!(told, ["0 s", "119 s", "2 min", "119 min", "2 h", "2 d"]);
    }
}
