//! Any values between host and guest: memory images of a guest as the host lifts them, events,
//! configurations, log lines and counters as they are lowered and come back.
//!
//! What the host makes of an image is compared with [`model`]; what it lowers must come back as it
//! was, in each of the three encodings of strings. After each fault the next good call must succeed.

mod expected;
mod guest;
mod image;
mod lines;
mod model;
mod scene;
mod text;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use domain::{AttributeName, Mapping, MappingLimits, RejectEvent, StatusEvent};
use plugin_runtime::{
    CompiledPlugin, Mapper, MapperInstance, MapperSpec, PluginRuntime, PrepareMapperError,
    RuntimeConfig,
};
use tokio::runtime::Runtime as Tokio;

use crate::contract::Encoding;
use crate::corpus::Corpus;
use crate::gauge::{self, Bounds};
use crate::random::Random;
use crate::run::Target;
use expected::{
    Expected, Verdict, are_few, check_lines, compare, is_load, judge, kind, nth_text, numbers,
    reason, record,
};
use image::Export;
use model::{Call, Lift, Memory, Stop};
use scene::{Act, Scene};

pub(crate) use guest::text as guest;

const OUTPUT_BYTES_MAX: usize = 64 * 1024;
const MESSAGES_MAX: usize = 16;
const NODE: &str = "node-ü-\u{10ffff}";
const INSTANCE: &str = "mqtt-local";
/// A mapper serves so many inputs: its counters should not be full all the time.
const INPUTS_PER_MAPPER: u64 = 500;
/// A machine that is too busy for so many canaries, one after the other, is something to look into.
const BUSY_TRIES_MAX: u32 = 20;

/// The contract: 32 counters with names of at most 64 bytes; lines of at most 1 KiB.
const COUNTERS_MAX: usize = 32;
const COUNTER_NAME_BYTES_MAX: usize = 64;
const LINE_BYTES_MAX: usize = 1024;
/// A plugin names 64 attributes at most, each with 64 bytes at most.
const NAMES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
/// Reasons of refusals are cut to this many bytes.
const REASON_BYTES_MAX: usize = 2048;

/// A call at its deadline, and what the host does around it.
const CALL: Bounds = Bounds {
    cpu: Duration::from_secs(1),
    memory_bytes: 24 << 20,
};

type Prepared = Result<Arc<Mapper>, PrepareMapperError>;

/// One guest with its mapper, its warm instance and what its counters should say.
struct Guest {
    plugin: Arc<CompiledPlugin>,
    mapper: Arc<Mapper>,
    instance: Option<MapperInstance>,
    counters: BTreeMap<String, u64>,
    dropped: u64,
}

pub(crate) struct Values {
    runtime: Arc<PluginRuntime>,
    tokio: Tokio,
    guests: Vec<Guest>,
    corpus: Corpus,
    inputs: u64,
    faults: u64,
    /// Calls that got too little of the machine.
    starved: u64,
}

impl Values {
    pub(crate) fn start() -> Result<Self> {
        lines::catch();
        let runtime = PluginRuntime::start(config())?;
        let mut guests = Vec::new();
        for encoding in Encoding::ALL {
            let plugin = runtime.compile(&wat::parse_str(guest::text(encoding))?)?;
            let mapper = runtime.prepare(&plugin, spec("{}".to_owned()))?;
            guests.push(Guest::new(plugin, mapper));
        }
        ensure!(guests.len() == Encoding::ALL.len(), "a guest is missing");
        Ok(Self {
            runtime,
            tokio: tokio::runtime::Builder::new_current_thread().build()?,
            guests,
            corpus: Corpus::new(Vec::new()),
            inputs: 0,
            faults: 0,
            starved: 0,
        })
    }

    fn play(&mut self, scene: &Scene, image: &[u8]) -> Result<String, String> {
        match scene.act {
            Act::Image => self.image(scene, image),
            Act::InitImage => self.init_image(scene, image),
            Act::NamesImage => self.names_image(scene, image),
            Act::Trick { at, value } => self.trick(scene, at, value),
            Act::Text(number) => {
                let event = scene.event(guest::OP_TEXT | number << 8, None);
                let text = nth_text(&event, number);
                let verdict = judge(Mapping::Reject(RejectEvent::Rejected(text)));
                self.call(scene, &event, &Expected::Exactly(verdict))
            }
            Act::Numbers => {
                let event = scene.event(guest::OP_NUMBERS, None);
                let verdict = judge(Mapping::Deliver(vec![numbers(&event)]));
                self.call(scene, &event, &Expected::Exactly(verdict))
            }
            Act::Record => {
                let event = scene.event(guest::OP_RECORD, None);
                let message = record(&event, |_| true);
                let expected = judge(Mapping::Deliver(vec![message]));
                self.call(scene, &event, &Expected::Exactly(expected))
            }
            Act::Config => {
                let config = scene.config();
                let wanted = PrepareMapperError::ConfigRefused {
                    reason: reason(&config),
                };
                match self.tried(scene.encoding, &config)? {
                    Err(error) if error == wanted => Ok("a configuration comes back".to_owned()),
                    other => Err(format!("not the configuration comes back, but {other:?}")),
                }
            }
        }
    }

    fn image(&mut self, scene: &Scene, image: &[u8]) -> Result<String, String> {
        let event = scene.event(guest::OP_IMAGE, Some(&text::hex(image)));
        let mut memory = Memory::new(image, scene.encoding);
        let (calls, called) = memory.calls();
        let answer = called.and_then(|()| memory.map_answer());
        let expected = match answer {
            Ok(mapping) => Expected::Exactly(judge(mapping)),
            Err(Stop::Invalid) => Expected::Invalid,
            Err(Stop::TooMuch) => Expected::TooMuch,
        };
        drop(lines::take());
        // Also when the answer is wrong, else every later one would be.
        let guest = &mut self.guests[index(scene.encoding)];
        guest.count(&calls);
        let said = self.call(scene, &event, &expected)?;
        check_lines(&calls)?;
        let guest = &mut self.guests[index(scene.encoding)];
        if !calls.is_empty() && !said.starts_with(STARVED) {
            let usage = guest.mapper.usage();
            let counters: Vec<_> = guest.counters.clone().into_iter().collect();
            if (&usage.counters, usage.counters_dropped) != (&counters, guest.dropped) {
                let (there, dropped) = (usage.counters, usage.counters_dropped);
                return Err(format!(
                    "counters are {there:?} and {dropped} dropped, should be {counters:?} and {}",
                    guest.dropped
                ));
            }
        }
        Ok(said)
    }

    /// Tries the guest with `image` as its configuration, of this kind: what it should answer, and what came of it.
    fn started<'a, T>(
        &self,
        scene: &Scene,
        kind: char,
        image: &'a [u8],
        answer: impl FnOnce(&mut Memory<'a>) -> Lift<T>,
    ) -> Result<(Lift<T>, Prepared), String> {
        let mut memory = Memory::new(image, scene.encoding);
        let (calls, called) = memory.calls();
        let answer = called.and_then(|()| answer(&mut memory));
        drop(lines::take());
        let prepared = self.tried(scene.encoding, &format!("{kind}{}", text::hex(image)))?;
        check_lines(&calls)?;
        Ok((answer, prepared))
    }

    fn init_image(&mut self, scene: &Scene, image: &[u8]) -> Result<String, String> {
        let (answer, prepared) = self.started(scene, 'X', image, Memory::init_answer)?;
        let is_right = match (&answer, &prepared) {
            (Ok(Ok(())), Ok(_)) => true,
            (Ok(Err(wanted)), Err(PrepareMapperError::ConfigRefused { reason: got })) => {
                *got == reason(wanted)
            }
            (Err(_), Err(PrepareMapperError::CanaryFailed { detail })) => {
                detail.starts_with("in init with ")
            }
            _ => false,
        };
        if !is_right {
            return Err(format!("init should answer {answer:?}, but: {prepared:?}"));
        }
        Ok(match prepared {
            Ok(_) => "init accepts".to_owned(),
            Err(PrepareMapperError::CanaryFailed { detail }) => detail,
            Err(_) => "init refuses".to_owned(),
        })
    }

    fn names_image(&mut self, scene: &Scene, image: &[u8]) -> Result<String, String> {
        let (answer, prepared) = self.started(scene, 'S', image, Memory::names_answer)?;
        let names = match answer {
            Ok(None) => None,
            Ok(Some(names)) if are_few(&names) => Some(names),
            Ok(Some(_)) | Err(_) => {
                return match prepared {
                    Err(PrepareMapperError::CanaryFailed { detail })
                        if detail.starts_with("in init with ") =>
                    {
                        Ok(detail)
                    }
                    other => Err(format!("names that are none give {other:?}")),
                };
            }
        };
        let mapper = prepared.map_err(|error| format!("names that are good give {error:?}"))?;
        let started = gauge::measure("a start", CALL, || MapperInstance::new(&mapper))?;
        let mut instance = match started {
            Ok(instance) => instance,
            Err(fault) if is_load(&fault) => {
                self.starved += 1;
                return Ok(STARVED.to_owned());
            }
            Err(fault) => return Err(format!("what passed its canary does not start: {fault}")),
        };
        drop(lines::take());
        let event = scene.event(guest::OP_RECORD, None);
        let message = record(&event, |name| {
            names
                .as_ref()
                .is_none_or(|names| names.iter().any(|it| it == name))
        });
        let expected = judge(Mapping::Deliver(vec![message]));
        let got = gauge::measure("a call", CALL, || instance.map(&event))?;
        if got.as_ref().is_err_and(is_load) {
            self.starved += 1;
            return Ok(STARVED.to_owned());
        }
        compare(&Expected::Exactly(expected), &got)?;
        Ok(format!(
            "{:?} names {}",
            scene.encoding,
            names.map_or(AttributeName::ALL.len(), |names| names.len())
        ))
    }

    fn trick(&mut self, scene: &Scene, at: u32, value: u32) -> Result<String, String> {
        let mut image = vec![0; guest::FREE];
        image[guest::TRICK_AT..guest::TRICK_AT + 4].copy_from_slice(&at.to_le_bytes());
        image[guest::TRICK_VALUE..guest::FREE].copy_from_slice(&value.to_le_bytes());
        // The result is read from zeros: no messages.
        image[..4].copy_from_slice(&4096_u32.to_le_bytes());
        let event = scene.event(guest::OP_IMAGE, Some(&text::hex(&image)));
        let mut scene = scene.clone();
        scene.is_threaded = false;
        let scene = &scene;
        self.call(
            scene,
            &event,
            &Expected::Exactly(Ok(Mapping::Deliver(Vec::new()))),
        )?;
        let is_aligned = scene.encoding == Encoding::Utf8 || value.is_multiple_of(2);
        let is_outside = usize::try_from(value).unwrap_or(usize::MAX) > guest::MEMORY_BYTES;
        let expected = if is_outside || !is_aligned {
            Expected::Invalid
        } else {
            Expected::Anything
        };
        let event = scene.event(guest::OP_RECORD, None);
        let said = self.call(scene, &event, &expected)?;
        self.guests[index(scene.encoding)].instance = None;
        Ok(said)
    }

    /// Maps one event, compares the verdict, and shows after a fault that the guest can still map.
    fn call(
        &mut self,
        scene: &Scene,
        event: &Arc<StatusEvent>,
        expected: &Expected,
    ) -> Result<String, String> {
        let got = self.map(scene, event)?;
        let Err(fault) = &got else {
            compare(expected, &got)?;
            return Ok(format!("{:?} {}", scene.encoding, kind(&got)));
        };
        self.guests[index(scene.encoding)].instance = None;
        if is_load(fault) {
            self.starved += 1;
            self.guests[index(scene.encoding)] = self.renewed(scene.encoding)?;
            return Ok(STARVED.to_owned());
        }
        compare(expected, &got)?;
        self.faults += 1;
        let event = scene.event(guest::OP_NUMBERS, None);
        match self.map(scene, &event)? {
            Err(again) if is_load(&again) => self.starved += 1,
            other => compare(
                &Expected::Exactly(Ok(Mapping::Deliver(vec![numbers(&event)]))),
                &other,
            )
            .map_err(|error| format!("after {fault}: {error}"))?,
        }
        Ok(format!("{:?} {fault}", scene.encoding))
    }

    fn map(&mut self, scene: &Scene, event: &Arc<StatusEvent>) -> Result<Verdict, String> {
        let guest = &mut self.guests[index(scene.encoding)];
        if scene.is_threaded {
            let (runtime, mapper) = (&self.runtime, &guest.mapper);
            let mut verdicts = gauge::measure("a call on a mapper thread", CALL, || {
                self.tokio
                    .block_on(runtime.map(mapper, vec![Arc::clone(event)]))
            })?;
            return verdicts.pop().ok_or_else(|| "no verdict".to_owned());
        }
        let instance = match &mut guest.instance {
            Some(instance) => instance,
            none => {
                let started =
                    gauge::measure("a start", CALL, || MapperInstance::new(&guest.mapper))?;
                match started {
                    Ok(instance) => none.insert(instance),
                    Err(fault) if is_load(&fault) => return Ok(Err(fault)),
                    Err(fault) => return Err(format!("a good guest does not start: {fault}")),
                }
            }
        };
        gauge::measure("a call", CALL, || instance.map(event))
    }

    /// Tries a guest with `config`, again if the machine was too busy.
    fn tried(&self, encoding: Encoding, config: &str) -> Result<Prepared, String> {
        let plugin = &self.guests[index(encoding)].plugin;
        let mut tries = 0;
        loop {
            let tried = gauge::measure("a canary", CALL, || {
                self.runtime.prepare(plugin, spec(config.to_owned()))
            })?;
            tries += 1;
            if tries >= BUSY_TRIES_MAX || !matches!(tried, Err(PrepareMapperError::HostBusy { .. }))
            {
                return Ok(tried);
            }
        }
    }

    fn renewed(&self, encoding: Encoding) -> Result<Guest, String> {
        let plugin = &self.guests[index(encoding)].plugin;
        let mapper = self.tried(encoding, "{}")?;
        let mapper = mapper.map_err(|error| format!("a good guest is refused: {error}"))?;
        Ok(Guest::new(Arc::clone(plugin), mapper))
    }
}

impl Target for Values {
    fn draw(&mut self, random: &mut Random) -> Vec<u8> {
        if random.in_hundred(25)
            && let Some(input) = self.corpus.pick(random)
            && let Some((seed, image)) = input.split_first_chunk::<8>()
        {
            let (seed, mut image) = (*seed, image.to_vec());
            image::change(&mut image, random);
            return [&seed[..], &image].concat();
        }
        let seed = random.next();
        let scene = Scene::of(seed);
        let image = match scene.act {
            Act::Image => image::draw(scene.encoding, Export::MapEvent, random),
            Act::InitImage => image::draw(scene.encoding, Export::Init, random),
            Act::NamesImage => image::draw(scene.encoding, Export::Names, random),
            _ => Vec::new(),
        };
        [&seed.to_le_bytes()[..], &image].concat()
    }

    fn attempt(&mut self, input: &[u8]) -> Result<String, String> {
        let Some((seed, image)) = input.split_first_chunk::<8>() else {
            return Err("an input has at least eight bytes".to_owned());
        };
        let scene = Scene::of(u64::from_le_bytes(*seed));
        let image = &image[..image.len().min(guest::IMAGE_BYTES_MAX)];
        self.inputs += 1;
        if self.inputs.is_multiple_of(INPUTS_PER_MAPPER) {
            for encoding in Encoding::ALL {
                self.guests[index(encoding)] = self.renewed(encoding)?;
            }
        }
        self.play(&scene, image)
    }

    fn learn(&mut self, input: &[u8], outcome: &str, random: &mut Random) {
        self.corpus.learn(input, outcome, random);
    }

    fn tally(&self) -> String {
        let outcomes = self.corpus.outcomes();
        format!(
            "{outcomes} outcomes, {} faults, {} starved",
            self.faults, self.starved
        )
    }
}

impl Guest {
    fn new(plugin: Arc<CompiledPlugin>, mapper: Arc<Mapper>) -> Self {
        Self {
            plugin,
            mapper,
            instance: None,
            counters: BTreeMap::new(),
            dropped: 0,
        }
    }

    fn count(&mut self, calls: &[Call]) {
        for call in calls {
            let Call::Add(name, delta) = call else {
                continue;
            };
            let has_room =
                self.counters.len() < COUNTERS_MAX && name.len() <= COUNTER_NAME_BYTES_MAX;
            if let Some(counter) = self.counters.get_mut(name) {
                *counter = counter.saturating_add(*delta);
            } else if has_room {
                self.counters.insert(name.clone(), *delta);
            } else {
                self.dropped += 1;
            }
        }
    }
}

/// What a call is that the machine did not let run.
const STARVED: &str = "starved";

/// An event for guests that do not care.
pub(crate) fn any_event() -> StatusEvent {
    Arc::unwrap_or_clone(Scene::of(1).event(0, None))
}

fn index(encoding: Encoding) -> usize {
    match encoding {
        Encoding::Utf8 => 0,
        Encoding::Utf16 => 1,
        Encoding::Compact => 2,
    }
}

fn spec(config: String) -> MapperSpec {
    MapperSpec {
        config,
        limits: MappingLimits::default(),
        samples: Vec::new(),
    }
}

fn config() -> RuntimeConfig {
    RuntimeConfig {
        mapper_threads: NonZeroUsize::MIN,
        memory_bytes_max: 4 << 20,
        memory_total_bytes_max: 64 << 20,
        // Far longer than the guests need, so that a busy machine does not count.
        call_deadline: Duration::from_millis(100),
        init_deadline: Duration::from_millis(500),
        output_bytes_max: OUTPUT_BYTES_MAX,
        messages_max: MESSAGES_MAX,
        component_bytes_max: 1 << 20,
        node: NODE.into(),
        instance: INSTANCE.into(),
    }
}
