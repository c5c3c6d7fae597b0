//! The bodies are what real name servers sent.

use rocketmq_protocol::protocol::route::topic_route_data::TopicRouteData;

use super::*;

const ROUTE_4_9_8: &str = r#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:30911"},"brokerName":"broker-j","cluster":"DefaultCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-j","perm":7,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}]}"#;
const ROUTE_4_4_0: &str = r#"{"brokerDatas":[{"brokerAddrs":{0:"127.0.0.1:40911"},"brokerName":"broker-44","cluster":"DefaultCluster"}],"filterServerTable":{},"queueDatas":[{"brokerName":"broker-44","perm":7,"readQueueNums":8,"topicSynFlag":0,"writeQueueNums":8}]}"#;

fn response_to(request: i32, code: i32, remark: &str, body: &str) -> RemotingCommand {
    let hook = CompatibilityHook::new(None);
    let request = RemotingCommand::create_remoting_command(request);
    let mut response = RemotingCommand::create_remoting_command(code)
        .set_remark(remark)
        .set_body(body.as_bytes().to_vec());
    hook.do_after_response(
        SocketAddr::from(([127, 0, 0, 1], 9876)),
        &request,
        &mut response,
    )
    .unwrap();
    response
}

#[test]
fn the_library_refuses_routes_of_4_x_as_they_are() {
    for body in [ROUTE_4_9_8, ROUTE_4_4_0] {
        assert!(
            TopicRouteData::decode(body.as_bytes()).is_err(),
            "the hook is not needed any more: {body}"
        );
    }
}

#[test]
fn routes_of_4_x_are_completed() {
    for (body, broker) in [(ROUTE_4_9_8, "broker-j"), (ROUTE_4_4_0, "broker-44")] {
        let response = response_to(code::GET_ROUTE_BY_TOPIC, code::SUCCESS, "", body);
        let route = TopicRouteData::decode(response.body().unwrap()).unwrap();
        assert_eq!(route.broker_datas[0].broker_name().as_str(), broker);
        assert_eq!(route.queue_datas[0].write_queue_nums, 8);
    }
}

#[test]
fn bodies_that_are_no_routes_stay_as_they_are() {
    let response = response_to(code::PULL_MESSAGE, code::SUCCESS, "", ROUTE_4_4_0);
    assert_eq!(response.body().unwrap(), ROUTE_4_4_0.as_bytes());
    let response = response_to(code::GET_ROUTE_BY_TOPIC, code::SUCCESS, "", "no route");
    assert_eq!(response.body().unwrap(), "no route".as_bytes());
}

#[test]
fn system_errors_that_mean_something_else_get_its_code() {
    const SEND: i32 = 310;
    let cases = [
        (
            1,
            "org.apache.rocketmq.acl.common.AclException: No default permission for TopicA",
            16,
        ),
        (
            1,
            "request queueId[9] is illegal, TopicConfig [topicName=TopicA]",
            17,
        ),
        (1, "the broker's disk is full", 1),
        (2, "[PC_SYNCHRONIZED]broker busy, AclException", 2),
        (10, "", 10),
    ];
    for (sent, remark, meant) in cases {
        assert_eq!(
            response_to(SEND, sent, remark, "").code(),
            meant,
            "{sent} {remark}"
        );
    }
}

#[test]
fn the_last_remark_is_kept_for_its_code() {
    let hook = CompatibilityHook::new(None);
    let request = RemotingCommand::create_remoting_command(310);
    let mut response = RemotingCommand::create_remoting_command(13)
        .set_remark("too large, a.B.c(B.java:683)\nsee https://x");
    hook.do_after_response(
        SocketAddr::from(([127, 0, 0, 1], 9876)),
        &request,
        &mut response,
    )
    .unwrap();
    assert_eq!(hook.last_remark(13).as_deref(), Some("too large"));
    assert_eq!(hook.last_remark(2), None);
}

#[test]
fn requests_are_signed_when_there_are_credentials() {
    let credentials = Credentials {
        access_key: "AK".to_owned(),
        secret_key: "secret".to_owned(),
        security_token: Some("token".to_owned()),
    };
    assert_eq!(format!("{credentials:?}"), "Credentials(***)");
    let hook = CompatibilityHook::new(Some(&credentials));
    let mut request = RemotingCommand::create_remoting_command(105);
    request.add_ext_field("topic", "TopicA");
    hook.sign(SocketAddr::from(([127, 0, 0, 1], 9876)), &mut request)
        .unwrap();
    let fields = request.ext_fields().unwrap();
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key.as_str() == name)
            .map(|(_, value)| value.as_str().to_owned())
    };
    assert_eq!(field("AccessKey").as_deref(), Some("AK"));
    assert_eq!(field("SecurityToken").as_deref(), Some("token"));
    assert!(field("Signature").is_some_and(|signature| !signature.is_empty()));
}
