//! XXH3 with 128 bits, no seed: the checksum of the engine's pages. The engine does not export its own.
//!
//! Beside the plain hash, it answers what the hash would be with one bit turned over, without
//! hashing all again: sums of blocks are independent of each other, so only two of the eight lanes
//! change. That makes it cheap to look for the one bit of a page that is wrong.

#![expect(
    clippy::indexing_slicing,
    reason = "fixed offsets into arrays whose length the branch before has checked, as in the specification"
)]

const STRIPE: usize = 64;
const STRIPES_OF_BLOCK: usize = 16;
const BLOCK: usize = STRIPE * STRIPES_OF_BLOCK;
/// Longer inputs are hashed in stripes.
const SHORT_MAX: usize = 240;
/// Where the secret of the last stripe, of a scramble and of both merges begin.
const LAST_SECRET: usize = 121;
const SCRAMBLE_SECRET: usize = 128;
const LOW_SECRET: usize = 11;
const HIGH_SECRET: usize = 117;

const SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];

const P32: [u64; 3] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D];
const P64: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];

type Lanes = [u64; 8];

const START: Lanes = [
    P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0],
];

/// The hash of `data`.
pub(super) fn hash(data: &[u8]) -> u128 {
    if data.len() <= SHORT_MAX {
        return short(data);
    }
    let mut lanes = START;
    let stripes = stripes_of(data);
    let blocks = blocks_of(data);
    for block in 0..blocks {
        add(&mut lanes, &block_sum(data, block, STRIPES_OF_BLOCK));
        scramble(&mut lanes);
    }
    let rest = stripes - blocks * STRIPES_OF_BLOCK;
    add(&mut lanes, &block_sum(data, blocks, rest));
    stripe(&mut lanes, &data[data.len() - STRIPE..], LAST_SECRET);
    merge(&lanes, data.len())
}

/// The hashes of all inputs that differ from one in a single bit.
pub(super) struct Flips<'a> {
    data: &'a [u8],
    /// Lanes before each block, and what the block adds.
    blocks: Vec<(Lanes, Lanes)>,
    /// After the last block.
    end: Lanes,
    /// What the stripes after the last block add.
    tail: Lanes,
}

impl<'a> Flips<'a> {
    pub(super) fn of(data: &'a [u8]) -> Self {
        let mut flips = Self {
            data,
            blocks: Vec::new(),
            end: START,
            tail: Lanes::default(),
        };
        if data.len() > SHORT_MAX {
            let blocks = blocks_of(data);
            for block in 0..blocks {
                let sum = block_sum(data, block, STRIPES_OF_BLOCK);
                flips.blocks.push((flips.end, sum));
                add(&mut flips.end, &sum);
                scramble(&mut flips.end);
            }
            let rest = stripes_of(data) - blocks * STRIPES_OF_BLOCK;
            flips.tail = block_sum(data, blocks, rest);
            stripe(&mut flips.tail, &data[data.len() - STRIPE..], LAST_SECRET);
        }
        flips
    }

    /// The hash with bit `bit` of byte `byte` turned over; `byte` is inside the data.
    pub(super) fn hash(&self, byte: usize, bit: u8) -> u128 {
        if self.data.len() <= SHORT_MAX {
            let mut data = self.data.to_vec();
            data[byte] ^= 1 << bit;
            return short(&data);
        }
        let len = self.data.len();
        let (mut end, mut tail) = (self.end, self.tail);
        let index = byte / STRIPE;
        if index < stripes_of(self.data) {
            let secret = index % STRIPES_OF_BLOCK * 8;
            let changes = self.changes(index * STRIPE, secret, byte, bit);
            let block = index / STRIPES_OF_BLOCK;
            for (lane, change) in changes {
                match self.blocks.get(block) {
                    Some((before, sum)) => {
                        let mut value = before[lane].wrapping_add(sum[lane]).wrapping_add(change);
                        value = scramble_lane(value, lane);
                        for (_, sum) in self.blocks.iter().skip(block + 1) {
                            value = scramble_lane(value.wrapping_add(sum[lane]), lane);
                        }
                        end[lane] = value;
                    }
                    None => tail[lane] = tail[lane].wrapping_add(change),
                }
            }
        }
        if byte >= len - STRIPE {
            for (lane, change) in self.changes(len - STRIPE, LAST_SECRET, byte, bit) {
                tail[lane] = tail[lane].wrapping_add(change);
            }
        }
        add(&mut end, &tail);
        merge(&end, len)
    }

    /// What a turned bit changes in the sum of the stripe that begins at `start`, by lane.
    fn changes(&self, start: usize, secret: usize, byte: usize, bit: u8) -> [(usize, u64); 2] {
        let offset = byte - start;
        let lane = offset / 8;
        let old = word(self.data, start + lane * 8);
        let new = old ^ (1 << (offset % 8 * 8 + usize::from(bit)));
        let key = word(&SECRET, secret + lane * 8);
        let product = product(new ^ key).wrapping_sub(product(old ^ key));
        [(lane, product), (lane ^ 1, new.wrapping_sub(old))]
    }
}

fn stripes_of(data: &[u8]) -> usize {
    (data.len() - 1) / STRIPE
}

fn blocks_of(data: &[u8]) -> usize {
    (data.len() - 1) / BLOCK
}

fn block_sum(data: &[u8], block: usize, stripes: usize) -> Lanes {
    let mut sum = Lanes::default();
    let block = &data[block * BLOCK..];
    for (index, bytes) in block.chunks_exact(STRIPE).take(stripes).enumerate() {
        stripe(&mut sum, bytes, index * 8);
    }
    sum
}

fn stripe(lanes: &mut Lanes, bytes: &[u8], secret: usize) {
    let (words, _) = bytes.as_chunks::<8>();
    let (keys, _) = SECRET[secret..].as_chunks::<8>();
    for (lane, (input, key)) in words.iter().zip(keys).take(8).enumerate() {
        let input = u64::from_le_bytes(*input);
        lanes[lane ^ 1] = lanes[lane ^ 1].wrapping_add(input);
        lanes[lane] = lanes[lane].wrapping_add(product(input ^ u64::from_le_bytes(*key)));
    }
}

fn product(value: u64) -> u64 {
    (value & 0xFFFF_FFFF).wrapping_mul(value >> 32)
}

fn add(lanes: &mut Lanes, sum: &Lanes) {
    for (lane, sum) in lanes.iter_mut().zip(sum) {
        *lane = lane.wrapping_add(*sum);
    }
}

fn scramble(lanes: &mut Lanes) {
    for (lane, value) in lanes.iter_mut().enumerate() {
        *value = scramble_lane(*value, lane);
    }
}

fn scramble_lane(value: u64, lane: usize) -> u64 {
    let key = word(&SECRET, SCRAMBLE_SECRET + lane * 8);
    (value ^ (value >> 47) ^ key).wrapping_mul(P32[0])
}

fn merge(lanes: &Lanes, len: usize) -> u128 {
    let len = wide(len);
    let low = merge_lanes(lanes, LOW_SECRET, P64[0].wrapping_mul(len));
    let high = merge_lanes(lanes, HIGH_SECRET, !P64[1].wrapping_mul(len));
    both(high, low)
}

fn merge_lanes(lanes: &Lanes, secret: usize, init: u64) -> u64 {
    let mut result = init;
    for (index, pair) in lanes.chunks_exact(2).enumerate() {
        let a = pair[0] ^ word(&SECRET, secret + index * 16);
        let b = pair[1] ^ word(&SECRET, secret + index * 16 + 8);
        result = result.wrapping_add(fold(a, b));
    }
    avalanche(result)
}

fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = halves(u128::from(a) * u128::from(b));
    low ^ high
}

fn halves(value: u128) -> (u64, u64) {
    let bytes = value.to_le_bytes();
    (word(&bytes, 0), word(&bytes, 8))
}

fn both(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

fn avalanche(mut x: u64) -> u64 {
    x ^= x >> 37;
    x = x.wrapping_mul(0x1656_6791_9E37_79F9);
    x ^ (x >> 32)
}

fn avalanche_64(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(P64[1]);
    x = (x ^ (x >> 29)).wrapping_mul(P64[2]);
    x ^ (x >> 32)
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn word(data: &[u8], offset: usize) -> u64 {
    data[offset..]
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn half_word(data: &[u8], offset: usize) -> u32 {
    data[offset..]
        .first_chunk::<4>()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn short(data: &[u8]) -> u128 {
    match data.len() {
        0 => {
            let low = avalanche_64(word(&SECRET, 64) ^ word(&SECRET, 72));
            let high = avalanche_64(word(&SECRET, 80) ^ word(&SECRET, 88));
            both(high, low)
        }
        1..=3 => to_3(data),
        4..=8 => to_8(data),
        9..=16 => to_16(data),
        17..=128 => to_128(data),
        _ => to_240(data),
    }
}

fn to_3(data: &[u8]) -> u128 {
    let len = data.len();
    let low = u32::from(data[0]) << 16
        | u32::from(data[len / 2]) << 24
        | u32::from(data[len - 1])
        | u32::try_from(len).unwrap_or(0) << 8;
    let high = low.swap_bytes().rotate_left(13);
    let low_key = half_word(&SECRET, 0) ^ half_word(&SECRET, 4);
    let high_key = half_word(&SECRET, 8) ^ half_word(&SECRET, 12);
    both(
        avalanche_64(u64::from(high ^ high_key)),
        avalanche_64(u64::from(low ^ low_key)),
    )
}

fn to_8(data: &[u8]) -> u128 {
    let input = u64::from(half_word(data, 0)) | u64::from(half_word(data, data.len() - 4)) << 32;
    let key = word(&SECRET, 16) ^ word(&SECRET, 24);
    let factor = P64[0].wrapping_add(wide(data.len()) << 2);
    let (mut low, mut high) = halves(u128::from(input ^ key).wrapping_mul(u128::from(factor)));
    high = high.wrapping_add(low << 1);
    low ^= high >> 3;
    low = (low ^ (low >> 35)).wrapping_mul(0x9FB2_1C65_1E98_DF25);
    low ^= low >> 28;
    both(avalanche(high), low)
}

fn to_16(data: &[u8]) -> u128 {
    let first = word(data, 0);
    let last = word(data, data.len() - 8);
    let mixed = first ^ last ^ word(&SECRET, 32) ^ word(&SECRET, 40);
    let last = last ^ word(&SECRET, 48) ^ word(&SECRET, 56);
    let (mut low, mut high) = halves(u128::from(mixed) * u128::from(P64[0]));
    low = low.wrapping_add((wide(data.len()) - 1) << 54);
    high = high
        .wrapping_add(last)
        .wrapping_add((last & 0xFFFF_FFFF).wrapping_mul(P32[1] - 1));
    low ^= high.swap_bytes();
    let (low, carried) = halves(u128::from(low) * u128::from(P64[1]));
    both(
        avalanche(carried.wrapping_add(high.wrapping_mul(P64[1]))),
        avalanche(low),
    )
}

fn mix(data: &[u8], secret: usize) -> u64 {
    fold(
        word(data, 0) ^ word(&SECRET, secret),
        word(data, 8) ^ word(&SECRET, secret + 8),
    )
}

fn mix_pair((low, high): (u64, u64), one: &[u8], other: &[u8], secret: usize) -> (u64, u64) {
    let low = low.wrapping_add(mix(one, secret)) ^ word(other, 0).wrapping_add(word(other, 8));
    let high = high.wrapping_add(mix(other, secret + 16)) ^ word(one, 0).wrapping_add(word(one, 8));
    (low, high)
}

fn finish((one, other): (u64, u64), len: usize) -> u128 {
    let high = one
        .wrapping_mul(P64[0])
        .wrapping_add(other.wrapping_mul(P64[3]))
        .wrapping_add(wide(len).wrapping_mul(P64[1]));
    both(
        0_u64.wrapping_sub(avalanche(high)),
        avalanche(one.wrapping_add(other)),
    )
}

fn to_128(data: &[u8]) -> u128 {
    let len = data.len();
    let mut state = (P64[0].wrapping_mul(wide(len)), 0);
    for (over, start, end, secret) in [(96, 48, 64, 96), (64, 32, 48, 64), (32, 16, 32, 32)] {
        if len > over {
            state = mix_pair(state, &data[start..], &data[len - end..], secret);
        }
    }
    state = mix_pair(state, data, &data[len - 16..], 0);
    finish(state, len)
}

fn to_240(data: &[u8]) -> u128 {
    let len = data.len();
    let mut state = (P64[0].wrapping_mul(wide(len)), 0);
    for index in 0..4 {
        let at = 32 * index;
        state = mix_pair(state, &data[at..], &data[at + 16..], at);
    }
    state = (avalanche(state.0), avalanche(state.1));
    for index in 4..len / 32 {
        let at = 32 * index;
        state = mix_pair(state, &data[at..], &data[at + 16..], at - 125);
    }
    state = mix_pair(state, &data[len - 16..], &data[len - 32..], 103);
    finish(state, len)
}
