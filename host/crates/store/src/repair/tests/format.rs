//! The checksum is that of the engine, and a turned bit changes it as hashing again would.

use crate::repair::xxh3::{Flips, hash};

#[test]
fn known_inputs_have_their_known_hashes() {
    let known = [
        ("", 0x99aa_06d3_0147_98d8_6001_c324_468d_497f),
        ("a", 0xa96f_af70_5af1_6834_e6c6_32b6_1e96_4e1f),
    ];
    for (input, expected) in known {
        assert_eq!(hash(input.as_bytes()), expected, "{input:?}");
    }
}

#[test]
fn a_turned_bit_hashes_as_the_turned_input() {
    for len in [
        1, 3, 4, 8, 9, 16, 17, 64, 128, 129, 240, 241, 320, 1024, 1025, 2048, 4096, 5000,
    ] {
        let data: Vec<u8> = (0..len)
            .map(|index| u8::try_from(index * 7 % 251).unwrap())
            .collect();
        let flips = Flips::of(&data);
        for byte in (0..len).step_by(1 + len / 40).chain([len - 1]) {
            for bit in [0, 5, 7] {
                let mut turned = data.clone();
                turned[byte] ^= 1 << bit;
                assert_eq!(flips.hash(byte, bit), hash(&turned), "{len} {byte} {bit}");
            }
        }
    }
}
