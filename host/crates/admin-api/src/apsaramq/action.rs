//! The actions that are served.

use broker::Broker;
use domain::{ClientId, CloseReason, GroupId};
use serde_json::{Value, json};

use super::call::Call;
use super::failure::Failure;
use crate::server::Served;

/// As documented for `BatchQuerySessionByClientIds`.
const BATCH_IDS_MAX: usize = 10;
/// "In service".
const IN_SERVICE: u32 = 5;
const OK: u32 = 200;
const NOT_ONLINE: u32 = 404;

/// Actions of that API which have no counterpart here.
const ELSEWHERE: &[&str] = &[
    "SendMessage",
    "ApplyToken",
    "QueryToken",
    "RevokeToken",
    "RegisterDeviceCredential",
    "UnRegisterDeviceCredential",
    "GetDeviceCredential",
    "RefreshDeviceCredential",
    "ListDeviceCredentialClientId",
    "AddCustomAuthIdentity",
    "UpdateCustomAuthIdentity",
    "DeleteCustomAuthIdentity",
    "QueryCustomAuthIdentity",
    "AddCustomAuthPermission",
    "UpdateCustomAuthPermission",
    "DeleteCustomAuthPermission",
    "QueryCustomAuthPermission",
    "AddCustomAuthConnectBlack",
    "DeleteCustomAuthConnectBlack",
    "QueryMqttTraceDevice",
    "QueryMqttTraceMessageOfClient",
    "QueryMqttTraceMessagePublish",
    "QueryMqttTraceMessageSubscribe",
    "ListTagResources",
    "TagResources",
    "UntagResources",
    "RegisterCaCertificate",
    "DeleteCaCertificate",
    "GetCaCertificate",
    "ListCaCertificate",
    "ActiveCaCertificate",
    "InactivateCaCertificate",
    "GetRegisterCode",
    "GetDeviceCertificate",
    "DeleteDeviceCertificate",
    "ActiveDeviceCertificate",
    "InactivateDeviceCertificate",
    "ListDeviceCertificate",
    "ListDeviceCertificateByCaSn",
    "SetSniConfig",
    "OpenListInstances",
    "DisasterDowngrade",
    "DisasterRecovery",
];

/// Whether the action changes something.
pub(crate) fn changes(action: &str) -> bool {
    matches!(
        action,
        "CloseConnection" | "CreateGroupId" | "DeleteGroupId"
    )
}

/// What the audit log names.
pub(crate) fn resource(call: &Call) -> String {
    let about = ["GroupId", "ClientId"]
        .iter()
        .find_map(|name| Some(format!("&{name}={}", call.parameters.get(*name)?)));
    format!("/?Action={}{}", call.action(), about.unwrap_or_default())
}

/// What the action answers, without its request id.
pub(crate) async fn carry_out(served: &Served, call: &Call) -> Result<Value, Failure> {
    match call.action() {
        "ListInstances" => return Ok(instances(served)),
        action if ELSEWHERE.contains(&action) => return Err(Failure::not_supported(action)),
        "QuerySessionByClientId"
        | "BatchQuerySessionByClientIds"
        | "CloseConnection"
        | "CreateGroupId"
        | "DeleteGroupId"
        | "ListGroupId" => {}
        action => return Err(Failure::no_action(action)),
    }
    let instance = call.required("InstanceId")?;
    if instance != served.instance {
        return Err(Failure::instance(instance, &served.instance));
    }
    match call.action() {
        "QuerySessionByClientId" => {
            let client = client_id(call.required("ClientId")?)?;
            Ok(json!({ "OnlineStatus": is_online(&served.broker, &client) }))
        }
        "BatchQuerySessionByClientIds" => batch(served, call),
        "CloseConnection" => {
            let client = client_id(call.required("ClientId")?)?;
            Ok(close(served, &client))
        }
        "CreateGroupId" => {
            let group = group_id(call.required("GroupId")?)?;
            let made = served.control.create_group(group).await;
            made.map(|_| json!({}))
                .map_err(|error| Failure::control(&error))
        }
        "DeleteGroupId" => {
            let group = group_id(call.required("GroupId")?)?;
            let gone = served.control.delete_group(&group).await;
            gone.map(|()| json!({}))
                .map_err(|error| Failure::control(&error))
        }
        _ => Ok(groups(served)),
    }
}

fn batch(served: &Served, call: &Call) -> Result<Value, Failure> {
    let ids = call.list("ClientIdList")?;
    if ids.is_empty() || ids.len() > BATCH_IDS_MAX {
        return Err(Failure::parameter(format!(
            "ClientIdList.1 to ClientIdList.N have to be 1 to {BATCH_IDS_MAX} client ids, not {}.",
            ids.len()
        )));
    }
    let statuses = ids.into_iter().map(|id| {
        let client = client_id(id)?;
        let online = is_online(&served.broker, &client);
        Ok(json!({ "ClientId": id, "OnlineStatus": online }))
    });
    let statuses: Vec<Value> = statuses.collect::<Result<_, Failure>>()?;
    Ok(json!({ "OnlineStatusList": statuses }))
}

fn close(served: &Served, client: &ClientId) -> Value {
    if served.broker.kick(client, CloseReason::Kicked) {
        json!({ "Code": OK, "Message": "operation success.", "Success": true })
    } else {
        let message = format!("client {client} is not online");
        json!({ "Code": NOT_ONLINE, "Message": message, "Success": false })
    }
}

fn groups(served: &Served) -> Value {
    let group = |group: pipeline::control::GroupView| {
        json!({
            "GroupId": group.group_id.to_string(),
            "InstanceId": served.instance,
            "IndependentNaming": true,
            "CreateTime": group.created_at_ms,
            "UpdateTime": group.created_at_ms,
            "Tags": [],
        })
    };
    let groups: Vec<Value> = served.control.groups().into_iter().map(group).collect();
    json!({ "Data": groups })
}

fn instances(served: &Served) -> Value {
    json!({
        "Code": OK,
        "Message": "operation success.",
        "Success": true,
        "Instances": [{
            "InstanceId": served.instance,
            "InstanceName": served.node,
            "InstanceStatus": IN_SERVICE,
            "KernelVersion": served.version,
            "RegionId": "local",
            "MqttTags": [],
        }],
    })
}

fn is_online(broker: &Broker, client: &ClientId) -> bool {
    broker.client(client).is_some_and(|view| view.online)
}

fn client_id(text: &str) -> Result<ClientId, Failure> {
    ClientId::parse(text).map_err(|error| Failure::parameter(format!("ClientId {text:?}: {error}")))
}

fn group_id(text: &str) -> Result<GroupId, Failure> {
    GroupId::parse(text).map_err(|error| Failure::parameter(format!("GroupId {text:?}: {error}")))
}
