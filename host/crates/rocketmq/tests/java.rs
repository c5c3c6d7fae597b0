//! throwaway
use std::time::Duration;
use domain::*;
use rocketmq::*;
use tokio::time::{Instant, sleep};
fn message(n: usize) -> OutboundMessage {
    OutboundMessage { tag: Some(format!("tag{}", n % 3)), keys: vec![format!("key-{n}"), "общий".into()],
        properties: vec![("eventId".into(), format!("e{n}")), ("sequence".into(), n.to_string()), ("пусто".into(), "".into()), ("中文".into(), "✓".into())],
        body: format!("{{\"n\":{n}}}").into_bytes() }
}
#[test]
fn java() {
    let ns = std::env::var("NS").unwrap();
    let topic = TopicName::parse(&std::env::var("TOPIC").unwrap()).unwrap();
    let ns2 = std::env::var("NAMESPACE").unwrap_or_default();
    let cred = std::env::var("AK").ok().map(|ak| Credentials { access_key: ak, secret_key: std::env::var("SK").unwrap(), security_token: None });
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rt = RocketmqRuntime::start().unwrap();
    let i = RocketmqInstance::new(&rt, RocketmqConfig { instance_id: InstanceId::parse("j").unwrap(), name_servers: ns.split(';').map(|s| s.to_owned()).collect(), namespace: ns2,
        credentials: cred, tls: false, send_timeout: Duration::from_secs(3), producer_group: "RULEMILL".into() }).unwrap();
    tokio.block_on(async {
        let t = Instant::now();
        println!("route0 {:?} {:?}", i.route(&topic).await, t.elapsed());
        let t = Instant::now();
        println!("create {:?} {:?}", i.create_topic(&topic, 4).await, t.elapsed());
        println!("create again {:?}", i.create_topic(&topic, 2).await);
        let r = i.route(&topic).await; println!("route {r:?}");
        let Ok(queues) = r else { return };
        let missing = TopicName::parse("MissingX").unwrap();
        println!("missing send {:?}", i.send(&missing, &queues[0], &[message(1)]).await);
        println!("missing route {:?}", i.route(&missing).await);
        println!("bad queue {:?}", i.send(&topic, &QueueName{broker: queues[0].broker.clone(), queue: 99}, &[message(1)]).await);
        println!("bad broker {:?}", i.send(&topic, &QueueName{broker: "nope".into(), queue: 0}, &[message(1)]).await);
        let t = Instant::now();
        println!("send1 {:?} {:?}", i.send(&topic, &queues[0], &[message(0)]).await, t.elapsed());
        let t = Instant::now();
        for k in 0..50 { let b: Vec<_> = (0..100).map(|n| message(1 + k*100 + n)).collect(); let r = i.send(&topic, &queues[1], &b).await; if r.is_err() || k == 0 { println!("batch {r:?}"); } }
        println!("5000 in {:?}", t.elapsed());
        let big = OutboundMessage { body: vec![b'x'; OutboundMessage::BODY_BYTES_MAX], ..message(0) };
        println!("big {:?}", i.send(&topic, &queues[2], &[big]).await);
        let toobig = OutboundMessage { properties: vec![("p".into(), "v".repeat(40000))], ..message(0) };
        println!("props {:?}", i.send(&topic, &queues[2], &[toobig.clone()]).await);
        println!("props in batch {:?}", i.send(&topic, &queues[2], &[message(0), toobig]).await);
        let res = OutboundMessage { properties: vec![("UNIQ_KEY".into(), "v".into())], ..message(0) };
        println!("reserved {:?}", i.send(&topic, &queues[2], &[res]).await);
        println!("empty {:?}", i.send(&topic, &queues[2], &[]).await);
        println!("empty body {:?}", i.send(&topic, &queues[2], &[OutboundMessage{body: vec![], ..message(0)}]).await);
        let t = Instant::now();
        let o = i.offsets(&topic).await; println!("offsets {o:?} {:?}", t.elapsed());
        let t = Instant::now();
        let (mut n, mut bad, mut pulls) = (0, 0, 0);
        for (q, lo, hi) in o.unwrap() { let mut x = lo; while x < hi { let (m, next) = i.read(&topic, &q, x, 64).await.unwrap(); pulls += 1; assert!(next > x); x = next;
            for m in m { n += 1; if m.queue.queue == 2 { println!("big body {}", m.body.len()); continue; } 
               let k: usize = m.properties.iter().find(|p| p.0 == "sequence").unwrap().1.parse().unwrap(); let e = message(k);
               let mut p = e.properties.clone(); p.sort();
               if m.tag != e.tag || m.keys != e.keys || m.body != e.body || m.properties != p { bad += 1; if bad < 3 { println!("BAD {m:?}"); } } } }
          println!("{q} past end {:?}; far past {:?}", i.read(&topic, &q, hi, 10).await, i.read(&topic, &q, hi + 1000, 10).await); }
        println!("read {n} bad {bad} in {pulls} pulls {:?}", t.elapsed());
        if let Ok(s) = std::env::var("LOOP") {
            let end = Instant::now() + Duration::from_secs(s.parse().unwrap());
            let (mut last, mut since) = (String::new(), Instant::now()); let mut n = 0; let mut ok = 0;
            while Instant::now() < end {
                n += 1;
                let t = Instant::now();
                let r = i.send(&topic, &queues[3], &[message(n)]).await;
                let s = match &r { Ok(_) => { ok += 1; "ok".to_owned() }, Err(e) => e.to_string() };
                if s != last { println!("{:?} after {:?}: {s} ({:?}); route {:?}", t.elapsed(), since.elapsed(), Instant::now(), i.route(&topic).await.map(|r| r.len())); last = s; since = Instant::now(); }
                sleep(Duration::from_millis(50)).await;
            }
            println!("loop {n} ok {ok}");
        }
    });
    let t = Instant::now();
    tokio.block_on(i.shutdown()); println!("instance down {:?}", t.elapsed());
    rt.shutdown(); println!("rt down {:?}", t.elapsed());
}
#[test]
fn killed() {
    let Ok(dir) = std::env::var("KILLDIR") else { return };
    let s = embedded_rocketmq::EmbeddedRocketmq::start(embedded_rocketmq::EmbeddedConfig { data_dir: dir.into(), name_server_listen: "127.0.0.1:0".parse().unwrap(), broker_listen: "127.0.0.1:0".parse().unwrap() }).unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let rt = RocketmqRuntime::start().unwrap();
    let i = RocketmqInstance::new(&rt, RocketmqConfig { instance_id: InstanceId::parse("j").unwrap(), name_servers: vec![s.name_server().to_string()], namespace: String::new(),
        credentials: None, tls: false, send_timeout: Duration::from_secs(3), producer_group: "RULEMILL".into() }).unwrap();
    let topic = TopicName::parse("Kill").unwrap();
    tokio.block_on(async {
        println!("create {:?}", i.create_topic(&topic, 2).await);
        println!("offsets {:?}", i.offsets(&topic).await);
        let q = i.route(&topic).await.unwrap();
        for k in 0..50 { let b: Vec<_> = (0..100).map(|n| message(1 + k*100 + n)).collect(); let r = i.send(&topic, &q[k % 2], &b).await; if r.is_err() { println!("{r:?}"); } }
        println!("offsets {:?}", i.offsets(&topic).await);
        let un = RocketmqInstance::new(&rt, RocketmqConfig { instance_id: InstanceId::parse("j").unwrap(), name_servers: vec!["127.0.0.1:1".into(), "nosuchhost.invalid:9876".into()], namespace: String::new(),
        credentials: None, tls: false, send_timeout: Duration::from_secs(3), producer_group: "RULEMILL".into() }).unwrap();
        println!("{}", un.route(&topic).await.unwrap_err());
        println!("{:?}", un.send(&topic, &q[0], &[message(1)]).await);
    });
    std::process::abort();
}
