use super::{ClientId, GroupId, MqttTopic, PluginDigest, PluginName, RuleId, TopicName};

#[test]
fn each_name_is_allowed_up_to_its_limit_and_not_beyond() {
    let long = |n: usize| format!("GID_{}", "a".repeat(n - 4));
    assert!(GroupId::parse("GID_abc").is_ok());
    assert!(GroupId::parse("GID-abc").is_ok());
    assert!(GroupId::parse("GID_ab").is_err());
    assert!(GroupId::parse(&long(64)).is_ok());
    assert!(GroupId::parse(&long(65)).is_err());
    assert!(GroupId::parse("gid_abc").is_err());
    assert!(GroupId::parse("GID_a.c").is_err());

    assert!(RuleId::parse("a-1").is_ok());
    assert!(RuleId::parse("ab").is_err());
    assert!(RuleId::parse("---").is_err());
    assert!(RuleId::parse(&"r".repeat(64)).is_ok());
    assert!(RuleId::parse(&"r".repeat(65)).is_err());

    assert!(TopicName::parse(&"t".repeat(127)).is_ok());
    assert!(TopicName::parse(&"t".repeat(128)).is_err());
    assert!(TopicName::parse("TBW102").is_err());
    assert!(TopicName::parse("a b").is_err());

    assert!(MqttTopic::parse("abc").is_ok());
    assert!(MqttTopic::parse(&"t".repeat(64)).is_ok());
    for wrong in ["ab", &"t".repeat(65), "a.bc", "a/b", "abc#"] {
        assert!(MqttTopic::parse(wrong).is_err(), "{wrong}");
    }

    assert!(PluginName::parse("a-1").is_ok());
    assert!(PluginName::parse("A").is_err());
}

#[test]
fn a_client_id_names_its_group_and_device() {
    let id = ClientId::parse_apsaramq("GID_abc@@@d1").unwrap();
    assert_eq!(id.group().unwrap().as_str(), "GID_abc");
    for wrong in [
        "",
        "GID_abc",
        "GID_abc@@@",
        "GID_abc@@@a/b",
        "XID_abc@@@d",
        "GID_abc@@@a@@@b",
    ] {
        assert!(ClientId::parse_apsaramq(wrong).is_err(), "{wrong}");
    }
    let long = format!("GID_abc@@@{}", "d".repeat(54));
    assert!(ClientId::parse_apsaramq(&long).is_ok());
    assert!(ClientId::parse_apsaramq(&format!("{long}d")).is_err());
    assert_eq!(ClientId::parse("plain").unwrap().group(), None);
}

#[test]
fn a_digest_reads_back_what_it_prints() {
    let digest = PluginDigest(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
    assert_eq!(PluginDigest::parse(&digest.to_string()).unwrap(), digest);
    assert!(PluginDigest::parse("sha256:00").is_err());
    assert!(PluginDigest::parse(&format!("sha256:{}", "g".repeat(64))).is_err());
}
