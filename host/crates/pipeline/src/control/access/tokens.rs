//! Tokens of the API: 256 random bits each, of which the hash is kept.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::Actor;
use store::{KeyMaterial, TokenRecord};
use tokio_util::sync::CancellationToken;

use super::{AccessControl, ControlCode, ControlError};

/// Tokens that there may be. About 300 bytes each.
const TOKENS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 64;
/// Names of what opens the API beside tokens: the token file, and a sign-in by a one-time code.
const RESERVED: [&str; 2] = ["admin", "sign-in"];

/// What the holder of a token may do. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads what is not about access.
    Viewer,
    /// Changes rules, plugins, groups, topics, dead letters, and closes connections.
    Operator,
    /// Does everything: also tokens, users, access keys and the audit log.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// SHA-256 of a token. A random token of 256 bits needs no slow hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

impl TokenHash {
    fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn parse_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// 1 to 64 letters, digits, `-`, `_` and `.`; checked when it is made.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// From then on it opens nothing, UNIX milliseconds.
    pub expires_at_ms: Option<u64>,
    /// Of the token itself.
    pub hash: TokenHash,
}

/// A token, without what it opens with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenView {
    /// The name.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Who made it.
    pub created_by: Actor,
    /// UNIX milliseconds.
    pub created_at_ms: u64,
    /// From then on it opens nothing, UNIX milliseconds.
    pub expires_at_ms: Option<u64>,
    /// UNIX milliseconds.
    pub last_used_at_ms: Option<u64>,
}

/// A token that was recognised.
#[derive(Clone, Debug)]
pub struct TokenUse {
    /// Who holds it.
    pub actor: Actor,
    /// What the holder may do.
    pub role: Role,
    /// How long it still opens anything; `None`: for ever.
    pub expires_in: Option<Duration>,
    /// Cancelled when the token is revoked: then what goes on in its name ends.
    pub revoked: CancellationToken,
}

#[derive(Debug)]
struct KnownToken {
    name: String,
    role: Role,
    hash: TokenHash,
    actor: Actor,
    created_by: Actor,
    created_at_ms: u64,
    expires_at_ms: Option<u64>,
    /// 0: never.
    last_used_at_ms: AtomicU64,
    /// What is stored of it.
    stored_use_ms: AtomicU64,
    revoked: CancellationToken,
}

/// Tokens by name and by hash.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_name: BTreeMap<String, Arc<KnownToken>>,
    /// Looked up by a hash of the guess: how long that takes says nothing about the token.
    by_hash: HashMap<TokenHash, Arc<KnownToken>>,
}

impl KnownToken {
    fn view(&self) -> TokenView {
        let used = self.last_used_at_ms.load(Ordering::Relaxed);
        TokenView {
            name: self.name.clone(),
            role: self.role,
            created_by: self.created_by.clone(),
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            last_used_at_ms: (used > 0).then_some(used),
        }
    }

    fn record(&self) -> TokenRecord {
        let view = self.view();
        TokenRecord {
            name: view.name,
            role: view.role.as_str().to_owned(),
            hash: KeyMaterial::new(self.hash.to_hex()),
            created_by: view.created_by,
            created_at_ms: view.created_at_ms,
            expires_at_ms: view.expires_at_ms,
            last_used_at_ms: view.last_used_at_ms,
        }
    }
}

impl Tokens {
    /// Takes in what was stored; says what is wrong with it.
    pub(super) fn put_stored(&mut self, record: TokenRecord) -> Result<(), &'static str> {
        let role = Role::parse(&record.role).ok_or("there is no such role")?;
        let hash = TokenHash::parse_hex(record.hash.reveal()).ok_or("its hash is none")?;
        let used = record.last_used_at_ms.unwrap_or(0);
        self.put(KnownToken {
            actor: Actor::token(&record.name),
            name: record.name,
            role,
            hash,
            created_by: record.created_by,
            created_at_ms: record.created_at_ms,
            expires_at_ms: record.expires_at_ms,
            last_used_at_ms: AtomicU64::new(used),
            stored_use_ms: AtomicU64::new(used),
            revoked: CancellationToken::new(),
        });
        Ok(())
    }

    fn put(&mut self, token: KnownToken) {
        let token = Arc::new(token);
        self.by_hash.insert(token.hash, Arc::clone(&token));
        self.by_name.insert(token.name.clone(), token);
    }

    fn remove(&mut self, name: &str) {
        if let Some(token) = self.by_name.remove(name) {
            self.by_hash.remove(&token.hash);
            token.revoked.cancel();
        }
    }
}

fn check_name(name: &str) -> Result<(), ControlError> {
    let problem = if RESERVED.contains(&name) {
        "is reserved"
    } else if !(1..=NAME_BYTES_MAX).contains(&name.len())
        || !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        "must have 1 to 64 letters, digits, -, _ and ."
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(80).collect();
    let message = format!("name: token name {shown:?} {problem}");
    Err(ControlError::new(ControlCode::InvalidTokenName, message))
}

fn not_found(name: &str) -> ControlError {
    let shown: String = name.chars().take(80).collect();
    let message = format!("there is no token {shown:?}; see `rulemill token list`");
    ControlError::new(ControlCode::TokenNotFound, message)
}

impl AccessControl {
    /// Whose token has this hash, if it opens anything now. Notes that it was used.
    #[must_use]
    pub fn authenticate(&self, hash: TokenHash) -> Option<TokenUse> {
        let token = self.known.read().tokens.by_hash.get(&hash).cloned()?;
        let now = self.clock.now_ms();
        let expires_in = match token.expires_at_ms {
            Some(end) if end <= now => return None,
            Some(end) => Some(Duration::from_millis(end - now)),
            None => None,
        };
        token.last_used_at_ms.fetch_max(now, Ordering::Relaxed);
        Some(TokenUse {
            actor: token.actor.clone(),
            role: token.role,
            expires_in,
            revoked: token.revoked.clone(),
        })
    }

    /// At most `limit` tokens after the name `after`, sorted, and how many there are in all.
    #[must_use]
    pub fn tokens(&self, after: Option<&str>, limit: usize) -> (Vec<TokenView>, usize) {
        let known = self.known.read();
        let tokens = &known.tokens.by_name;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = tokens.range::<str, _>((start, Bound::Unbounded));
        let page = page.take(limit).map(|(_, token)| token.view());
        (page.collect(), tokens.len())
    }

    /// One token.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn token(&self, name: &str) -> Result<TokenView, ControlError> {
        let known = self.known.read();
        let found = known.tokens.by_name.get(name);
        found
            .map(|token| token.view())
            .ok_or_else(|| not_found(name))
    }

    /// Makes a token, which opens as soon as this returns.
    ///
    /// # Errors
    ///
    /// When the name is none or taken, the end is past, there are too many, or the store failed.
    pub async fn create_token(&self, new: NewToken, by: &Actor) -> Result<TokenView, ControlError> {
        check_name(&new.name)?;
        let _change = self.change.lock().await;
        let now = self.clock.now_ms();
        if new.expires_at_ms.is_some_and(|end| end <= now) {
            let message = "expiresAt: the token would have expired already; give a later time, in UNIX milliseconds";
            return Err(ControlError::new(ControlCode::InvalidExpiry, message));
        }
        if self.token(&new.name).is_ok() {
            let message = format!(
                "there is a token {} already; revoke it first, or take another name",
                new.name
            );
            return Err(ControlError::new(ControlCode::TokenExists, message));
        }
        if self.known.read().tokens.by_name.len() >= TOKENS_MAX {
            let message = format!(
                "there are {TOKENS_MAX} tokens already, the most there may be; revoke one first"
            );
            return Err(ControlError::new(ControlCode::TooManyTokens, message));
        }
        let token = KnownToken {
            actor: Actor::token(&new.name),
            name: new.name,
            role: new.role,
            hash: new.hash,
            created_by: by.clone(),
            created_at_ms: now,
            expires_at_ms: new.expires_at_ms,
            last_used_at_ms: AtomicU64::new(0),
            stored_use_ms: AtomicU64::new(0),
            revoked: CancellationToken::new(),
        };
        let (record, view) = (token.record(), token.view());
        self.write(move |tx| tx.put_token(&record)).await?;
        self.known.write().tokens.put(token);
        Ok(view)
    }

    /// Revokes a token: it opens nothing from the moment this returns, and what goes on in its name ends.
    ///
    /// # Errors
    ///
    /// When there is no such token, or the store failed.
    pub async fn revoke_token(&self, name: &str) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        self.token(name)?;
        let stored = name.to_owned();
        self.write(move |tx| tx.remove_token(&stored)).await?;
        self.known.write().tokens.remove(name);
        Ok(())
    }

    /// Stores when tokens were last used, where that changed; to be called now and then.
    ///
    /// # Errors
    ///
    /// When the store failed.
    pub async fn store_last_uses(&self) -> Result<(), ControlError> {
        // Under the lock, so that no token is stored again after it was revoked.
        let _change = self.change.lock().await;
        let changed: Vec<Arc<KnownToken>> = {
            let known = self.known.read();
            let tokens = known.tokens.by_name.values();
            let is_changed = |token: &&Arc<KnownToken>| {
                token.last_used_at_ms.load(Ordering::Relaxed)
                    != token.stored_use_ms.load(Ordering::Relaxed)
            };
            tokens.filter(is_changed).cloned().collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        let records: Vec<TokenRecord> = changed.iter().map(|token| token.record()).collect();
        let uses: Vec<u64> = records
            .iter()
            .map(|record| record.last_used_at_ms.unwrap_or(0))
            .collect();
        self.write(move |tx| records.iter().try_for_each(|record| tx.put_token(record)))
            .await?;
        for (token, used) in changed.iter().zip(uses) {
            token.stored_use_ms.store(used, Ordering::Relaxed);
        }
        Ok(())
    }
}
