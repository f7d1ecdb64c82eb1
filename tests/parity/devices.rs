//! Splits over devices: the tokens of one device, whatever the layers, the devices and the form of the weights.

use mist::checkpoint::open::Checkpoint;
use mist::quant::{ActivationBits, Scheme};

use crate::fixture::{F32, greedy_afresh, load_in, open, rounded};
use crate::random::{Shape, convert_to, ids};

/// A prompt of more than one chunk, so that stages are at work on different ones, and what follows it.
#[track_caller]
fn assert_same_on_devices(checkpoint: &Checkpoint, what: &str) {
    let prompt = ids(300, 3);
    for arithmetic in [F32, rounded(ActivationBits::Eight), rounded(ActivationBits::Sixteen)] {
        let tokens = |devices| greedy_afresh(&load_in(checkpoint, devices, arithmetic), &prompt, 12);
        let one = tokens(1);
        assert!(one.windows(2).any(|pair| pair[0] != pair[1]), "{what}: {one:?} shows little");
        for devices in 2..=5 {
            assert_eq!(tokens(devices), one, "{what}, {arithmetic:?} on {devices} devices");
        }
    }
}

fn in_every_form(shape: Shape) {
    let what = format!("{} layers, {} experts, window {:?}", shape.layers, shape.experts, shape.window);
    let folder = tempfile::tempdir().unwrap();
    shape.write(folder.path());
    let original = open(folder.path());
    assert_same_on_devices(&original, &format!("{what}, as published"));
    for scheme in [None, Some(Scheme::Q8_0), Some(Scheme::Q4K), Some(Scheme::Q4_0)] {
        let folder = tempfile::tempdir().unwrap();
        let converted = convert_to(&original, folder.path(), scheme);
        assert_same_on_devices(&converted, &format!("{what}, converted to {scheme:?}"));
    }
}

#[test]
fn five_layers_of_mistral() {
    in_every_form(Shape { layers: 5, experts: 0, window: Some(40) });
}

#[test]
fn thirty_two_layers_of_mistral() {
    in_every_form(Shape { layers: 32, experts: 0, window: None });
}

#[test]
fn five_layers_of_mixtral() {
    in_every_form(Shape { layers: 5, experts: 8, window: None });
}

#[test]
fn thirty_two_layers_of_mixtral() {
    in_every_form(Shape { layers: 32, experts: 4, window: None });
}
