//! What an operator sees of a group and a user.

use serde_json::json;

use super::*;

#[tokio::test]
async fn reports_a_group_without_connections() {
    let gateway = gateway().await;
    let answer = gateway.call(empty(request_of(AUDIT, "GET", "/groups/pedido.42"))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let dropped = json!({"capacity": 0, "bytes": 0, "expired": 0, "unlisted": 0, "closed": 0,
                         "superseded": 0});
    assert_eq!(
        answer.json,
        json!({"instance": "k3f5a2bq", "group": "pedido.42", "connections": 0, "sent": 0,
               "dropped": dropped})
    );
}

#[tokio::test]
async fn reports_a_user_without_connections() {
    let gateway = gateway().await;
    let answer = gateway.call(empty(request("GET", "/users/mar%C3%ADa"))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json, json!({"instance": "k3f5a2bq", "sub": "maría", "connections": []}));
}
