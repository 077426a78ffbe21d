//! Record batches that real clients made, with every compression: see
//! `tests/wire/README.md`.

use std::path::PathBuf;

use pluvio_wire_kafka::Compression;
use pluvio_wire_kafka::records::{for_each_record, parse_header, set_base_offset, validate_produced};

pub fn stored(client: &str, codec: &str) -> Vec<u8> {
    let root = PathBuf::from("../../tests/wire/kafka");
    std::fs::read(root.join(format!("batch-{client}-{codec}.bin"))).unwrap()
}

#[test]
fn what_real_clients_sent_is_read() {
    for client in ["librdkafka", "python", "java", "go"] {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let mut batch = stored(client, codec);
            let header = validate_produced(&batch, 10_000).unwrap();
            assert_eq!(header.compression().unwrap(), Compression::from_name(codec).unwrap());
            assert_eq!(header.producer_id >= 0, ["java", "go"].contains(&client));
            set_base_offset(&mut batch, 500);
            let mut drop = 0;
            for_each_record(&batch, 10_000, &mut Vec::new(), |record| {
                let value =
                    format!("rain falls on the roof, drop {drop}, and on the garden behind the house");
                assert_eq!((record.offset, record.timestamp_ms), (500 + drop, 1_700_000_000_000));
                assert_eq!(record.key, Some(format!("key-{drop}").as_bytes()));
                assert_eq!(record.value, Some(value.as_bytes()), "{client} {codec}");
                let headers: Vec<_> = record.headers().map(Result::unwrap).collect();
                assert_eq!(headers, [("h", Some(&b"v"[..]))]);
                drop += 1;
                Ok(())
            })
            .unwrap();
            assert_eq!(drop, 20, "{client} {codec}");
            assert_eq!(parse_header(&batch).unwrap().total_bytes(), batch.len());
        }
    }
}

#[test]
fn damage_anywhere_is_found() {
    let batch = stored("java", "lz4");
    for at in 16..batch.len() {
        let mut damaged = batch.clone();
        damaged[at] ^= 0x10;
        assert!(validate_produced(&damaged, 10_000).is_err(), "byte {at}");
    }
}
