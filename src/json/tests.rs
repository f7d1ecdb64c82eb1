use std::collections::HashMap;
use std::marker::PhantomData;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::text::{in_pieces, read};
use super::*;

fn refused(text: &str) -> String {
    value(text.as_bytes(), SETTINGS).unwrap_err().to_string()
}

#[test]
fn a_value_is_what_serde_json_makes_of_it() {
    let text = r#"{"a":[1,-2,1.5,true,null,"x\n",[],{}],"b":{"c":18446744073709551615,"d":"é"}}"#;
    assert_eq!(value(text.as_bytes(), SETTINGS).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    assert_eq!(object(b" {} ", 0, &[]).unwrap(), Map::new());
    assert_eq!(object(b"[]", 0, &[]).unwrap_err().to_string(), "is not a JSON object");
    for text in ["", "{", "{} x", "[1,]", "nul"] {
        let theirs = serde_json::from_str::<Value>(text).unwrap_err();
        assert_eq!(refused(text), super::Error::from(theirs).to_string());
    }
}

#[test]
fn a_key_that_comes_twice_is_an_error_that_names_it() {
    assert!(refused(r#"{"a":1,"b":2,"a":1}"#).starts_with(r#"the key "a" is given twice at line 1"#));
    assert!(refused(r#"{"x":[{"y":{"b":1,"b":2}}]}"#).contains(r#"the key "b" is given twice"#));
    // The same key with a different spelling.
    assert!(refused("{\"a\":1,\n\"\\u0061\":2}").contains("is given twice at line 2"));
    assert!(object(br#"{"a":1,"a":2}"#, SETTINGS, &["a"]).unwrap_err().to_string().contains("twice"));
    assert!(typed::<HashMap<String, u32>>(br#"{"a":1,"a":2}"#, SETTINGS).is_err());
    let unique = |text: &str| read(text.as_bytes(), Unique::<String, u32>::new(2)).map_err(|e| e.to_string());
    assert_eq!(unique(r#"{"a":1,"b":2}"#).unwrap().len(), 2);
    assert!(unique(r#"{"a":1,"a":2}"#).unwrap_err().contains("given twice"));
    assert!(unique(r#"{"a":1,"b":2,"c":3}"#).unwrap_err().contains("has more than 2 entries"));
}

#[test]
fn a_byte_order_mark_at_the_start_is_passed_over() {
    assert_eq!(value(b"\xEF\xBB\xBF{\"a\":1}", SETTINGS).unwrap(), json!({"a": 1}));
    assert!(value(b"{\"a\":\xEF\xBB\xBF1}", SETTINGS).is_err());
    let mut long = b"\xEF\xBB\xBF{\"a\":1}".to_vec();
    long.resize(1 << 17, b' ');
    let seed = || Unique::<String, u32>::new(2);
    assert_eq!(in_pieces(&long[..], seed()).unwrap()["a"], 1);
    assert_eq!(read(&long, seed()).unwrap()["a"], 1);
}

/// The memory that is counted is at least the memory that a value takes.
#[test]
fn a_value_takes_no_more_memory_than_its_limit() {
    let limit = 1 << 20;
    let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    for (item, count) in [
        ("0", limit / (2 * size_of::<Value>()) + 1),
        ("\"\"", limit / (2 * size_of::<Value>())),
        ("{\"\":0}", limit / 700),
        ("[0]", limit / 300),
        ("[[[[0]]]]", limit / 1200),
    ] {
        let error = value(list(item, count).as_bytes(), limit).unwrap_err().to_string();
        assert!(error.contains("takes more than 1048576 bytes of memory, the limit"), "{item}: {error}");
        assert!(value(list(item, count / 8).as_bytes(), limit).is_ok(), "{item}");
    }
    let long = format!("{{\"{}\":0}}", "k".repeat(limit));
    assert!(value(long.as_bytes(), limit).is_err());
    assert!(serde_json::from_str::<Bounded<1024>>("[1,2,3,4,5,6,7,8]").is_err());
    assert_eq!(serde_json::from_str::<Bounded<1024>>("[1]").unwrap().0, json!([1]));
}

#[test]
fn what_is_skipped_is_not_built() {
    let text = format!(r#"{{"a":1,"big":[{}0],"b":2}}"#, "0,".repeat(1 << 16));
    assert_eq!(
        object(text.as_bytes(), 4096, &["big"]).unwrap(),
        *json!({"a": 1, "b": 2}).as_object().unwrap()
    );
    assert!(object(text.as_bytes(), 4096, &[]).is_err());
    // Only fields of the outermost object are skipped.
    assert!(object(br#"{"c":{"big":1}}"#, 4096, &["big"]).unwrap()["c"]["big"] == 1);
}

#[test]
fn lists_are_counted_while_they_are_read() {
    let list = |text: &str| serde_json::from_str::<Capped<u8, 3>>(text);
    assert_eq!(list("[1,2,3]").unwrap().0, [1, 2, 3]);
    assert!(list("[1,2,3,4]").unwrap_err().to_string().contains("has more than 3 entries, the limit"));
}

#[test]
fn nesting_is_bounded_however_a_text_is_read() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(value(deep(120).as_bytes(), SETTINGS).is_ok());
    assert!(
        value(deep(200).as_bytes(), SETTINGS).unwrap_err().to_string().contains("nest more than 128 deep")
    );
    let large = |part: &str| {
        let text = format!("{{\"a\":1,\"b\":{part}}}");
        in_pieces(text.as_bytes(), PhantomData::<Skimmed>).map(|s| s.a).map_err(|e| e.to_string())
    };
    assert_eq!(large(&deep(120)), Ok(1));
    assert!(large(&deep(200)).unwrap_err().contains("nest more than 128 deep"));
    assert_eq!(large(&format!("\"{}\\\"\"", "[".repeat(1000))), Ok(1));
    assert!(large(&format!("\"{}\"", "x".repeat(5 << 20))).unwrap_err().contains("longer than 4194304"));
}

#[derive(Deserialize)]
struct Skimmed {
    a: u32,
}

#[test]
fn an_index_gives_its_files() {
    let text = br#"{"metadata":{"total_size":1},"weight_map":{"a":"1","b":"2","c":"1"}}"#;
    assert!(shards(text).unwrap().iter().eq(["1", "2"]));
    let refused = |text: &[u8]| shards(text).unwrap_err().to_string();
    assert!(refused(br#"{"weight_map":{"a":"1","a":"2"}}"#).contains(r#"the key "a" is given twice"#));
    assert!(refused(br#"{"weight_map":{},"weight_map":{}}"#).contains("given twice"));
    assert!(refused(b"{}").contains("the field weight_map is missing"));
    let many: Vec<String> = (0..=1 << 17).map(|i| format!("\"{i}\":\"\"")).collect();
    let many = format!("{{\"weight_map\":{{{}}}}}", many.join(","));
    assert!(refused(many.as_bytes()).contains("has more than 131072 entries"));
}
