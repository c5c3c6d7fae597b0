//! Signatures against the examples of the cloud's documentation, and what is refused.

use std::sync::Arc;

use access::AccessKeySecret;
use axum::http::Request;

use super::call::Call;
use super::replay::{NONCES_MAX, Nonces};
use super::{signature, time_window};

/// 2023-10-26T10:22:32Z
const V3_MS: u64 = 1_698_315_752_000;
/// 2016-02-23T12:46:24Z
const RPC_MS: u64 = 1_456_231_584_000;
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn secret(id: &str) -> Option<Arc<AccessKeySecret>> {
    let secret = match id {
        "YourAccessKeyId" => "YourAccessKeySecret",
        "testid" => "testsecret",
        _ => return None,
    };
    AccessKeySecret::parse(secret).ok().map(Arc::new)
}

/// The documentation's example of the newer signature, with one part exchanged.
fn v3_request(exchanged: &str, by: &str) -> Request<()> {
    let query = "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai";
    let authorization = "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0";
    let part = |text: &str| text.replace(exchanged, by);
    Request::post(part(&format!("/?{query}")))
        .header("host", part("ecs.cn-shanghai.aliyuncs.com"))
        .header("x-acs-action", part("RunInstances"))
        .header("x-acs-version", "2014-05-26")
        .header("x-acs-date", part("2023-10-26T10:22:32Z"))
        .header(
            "x-acs-signature-nonce",
            part("3156853299f313e23d1673dc12e1703d"),
        )
        .header("x-acs-content-sha256", part(EMPTY))
        .header("authorization", part(authorization))
        .body(())
        .unwrap()
}

fn v3(exchanged: &str, by: &str) -> Result<String, &'static str> {
    checked(v3_request(exchanged, by), V3_MS, &Nonces::default())
}

/// The documentation's example of the older signature, with one part exchanged.
fn rpc_request(exchanged: &str, by: &str) -> Request<()> {
    let query = "Timestamp=2016-02-23T12%3A46%3A24Z&Format=XML&AccessKeyId=testid&Action=DescribeRegions&SignatureMethod=HMAC-SHA1&SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&Version=2014-05-26&SignatureVersion=1.0&Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D";
    Request::get(format!("/?{query}").replace(exchanged, by))
        .body(())
        .unwrap()
}

fn rpc(exchanged: &str, by: &str, nonces: &Nonces) -> Result<String, &'static str> {
    checked(rpc_request(exchanged, by), RPC_MS, nonces)
}

fn checked(request: Request<()>, now_ms: u64, nonces: &Nonces) -> Result<String, &'static str> {
    let (parts, ()) = request.into_parts();
    let call = Call::unchecked(&parts);
    signature::verify(&call, b"", secret, now_ms, nonces).map_err(|failure| failure.code())
}

#[test]
fn the_documented_examples_are_right() {
    assert_eq!(v3("", "").as_deref(), Ok("YourAccessKeyId"));
    assert_eq!(rpc("", "", &Nonces::default()).as_deref(), Ok("testid"));
}

#[test]
fn nothing_that_is_signed_can_be_changed() {
    for (part, by) in [
        ("cn-shanghai.aliyuncs", "cn-beijing.aliyuncs"),
        ("RegionId=cn-shanghai", "RegionId=cn-beijing"),
        ("RunInstances", "StopInstances"),
        ("10:22:32Z", "10:22:33Z"),
        ("3156853299f3", "4156853299f3"),
        ("06563a9e", "16563a9e"),
        (
            "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0",
            "",
        ),
    ] {
        assert_eq!(v3(part, by), Err("SignatureDoesNotMatch"), "{part}");
    }
    for (part, by) in [
        ("DescribeRegions", "DeleteRegions"),
        ("3ee8c1b8", "4ee8c1b8"),
        ("OLeaid", "XLeaid"),
    ] {
        let found = rpc(part, by, &Nonces::default());
        assert_eq!(found, Err("SignatureDoesNotMatch"), "{part}");
    }
}

#[test]
fn what_is_missing_or_unknown_is_told() {
    for (part, by, code) in [
        (
            "Credential=YourAccessKeyId",
            "Credential=x",
            "InvalidAccessKeyId.NotFound",
        ),
        (";x-acs-signature-nonce", "", "IncompleteSignature"),
        (
            "SignedHeaders=host;",
            "SignedHeaders=",
            "IncompleteSignature",
        ),
        ("ACS3-HMAC-SHA256 ", "ACS3-HMAC-SM3 ", "IncompleteSignature"),
        (",Signature=", ",Other=", "IncompleteSignature"),
        ("e3b0c442", "f3b0c442", "IncompleteSignature"),
    ] {
        assert_eq!(v3(part, by), Err(code), "{part}");
    }
    for (part, by, code) in [
        (
            "AccessKeyId=testid",
            "AccessKeyId=x",
            "InvalidAccessKeyId.NotFound",
        ),
        ("HMAC-SHA1", "HMAC-SHA256", "IncompleteSignature"),
        ("&Signature=", "&Other=", "IncompleteSignature"),
    ] {
        assert_eq!(rpc(part, by, &Nonces::default()), Err(code), "{part}");
    }
}

#[test]
fn a_time_outside_of_the_window_is_refused() {
    let window_ms = 15 * 60 * 1000;
    let time = "2023-10-26T10:22:32Z";
    for now_ms in [V3_MS - window_ms, V3_MS, V3_MS + window_ms] {
        assert!(time_window::check(time, now_ms).is_ok());
    }
    for now_ms in [V3_MS - window_ms - 1, V3_MS + window_ms + 1] {
        let code = time_window::check(time, now_ms).unwrap_err().code();
        assert_eq!(code, "InvalidTimeStamp.Expired");
    }
    let code = time_window::check("yesterday", V3_MS).unwrap_err().code();
    assert_eq!(code, "IncompleteSignature");
}

#[test]
fn a_nonce_counts_once_per_key_until_no_request_with_it_would_count() {
    let nonces = Nonces::default();
    let code = |key, nonce, now_ms| nonces.take(key, nonce, now_ms).err().map(|it| it.code());
    assert_eq!(code("a", "1", 1_000), None);
    assert_eq!(code("a", "1", 1_000), Some("SignatureNonceUsed"));
    assert_eq!(code("b", "1", 1_000), None);
    let twice_ms = 2 * 15 * 60 * 1000;
    assert_eq!(code("a", "1", 1_000 + twice_ms), Some("SignatureNonceUsed"));
    assert_eq!(code("a", "1", 1_001 + twice_ms), None);
    assert_eq!(code("a", "", 0), Some("IncompleteSignature"));
    assert_eq!(code("a", &"n".repeat(129), 0), Some("IncompleteSignature"));
}

#[test]
fn too_many_nonces_are_refused_until_old_ones_go() {
    let nonces = Nonces::default();
    for number in 0..NONCES_MAX {
        nonces.take("a", &number.to_string(), 0).unwrap();
    }
    let code = nonces.take("a", "one more", 0).unwrap_err().code();
    assert_eq!(code, "SystemOverFlow");
    nonces
        .take("a", "one more", 2 * 15 * 60 * 1000 + 1)
        .unwrap();
}

#[test]
fn a_list_with_a_gap_is_refused() {
    let list = |query: &str| {
        let request = Request::post(format!("/?{query}")).body(()).unwrap();
        let call = Call::unchecked(&request.into_parts().0);
        let list = call.list("ClientIdList");
        list.map(|ids| ids.len())
            .map_err(|failure| failure.message().to_owned())
    };
    assert_eq!(list("ClientIdList.1=a&ClientIdList.2=b"), Ok(2));
    assert_eq!(list("Other=a"), Ok(0));
    for gap in [
        "ClientIdList.1=a&ClientIdList.3=b",
        "ClientIdList.1=a&ClientIdList.02=b",
    ] {
        let message = list(gap).unwrap_err();
        assert!(message.contains("ClientIdList.2 is missing"), "{message}");
    }
}
