//! Back ends close connections: of users who logged out or lost a permission.

use crate::support::Gateway;

#[tokio::test]
async fn closes_all_connections_of_a_user_and_of_nobody_else() {
    let gateway = Gateway::start().await;
    let (mut plain, mut v1) = (gateway.plain_member("7").await, gateway.v1("7").await);
    let mut other = gateway.v1("8").await;
    let answer = gateway.ask("POST /users/7/close?code=4401", &[], "").await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(plain.closed().await.0, 4401);
    assert_eq!(v1.closed().await.0, 4401);
    gateway.broadcast(serde_json::json!({"type": "x"})).await;
    assert_eq!(other.event().await["type"], "x");
}
