//! SCRAM against the examples of the standards and against itself.

use super::*;

fn exchange(hash: Hash, user: &str, password: &str, server: &Credential) -> Result<(), SaslError> {
    let (client, first) = ScramClient::begin(hash, user, password, "clientnonce");
    let asked = ScramFirst::decode(&first)?;
    assert_eq!(asked.user, user);
    let (challenge, message) = asked.challenge(server.clone(), "servernonce");
    let (client, proof) = client.prove(&message)?;
    client.check(&challenge.verify(&proof)?)
}

#[test]
fn the_example_of_rfc_7677() {
    let nonce = "rOprNGfwEbeRWgbNEkqO";
    let (client, first) = ScramClient::begin(Hash::Sha256, "user", "pencil", nonce);
    assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let salt =
        vec![0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
    let credential = Credential::of_password(Hash::Sha256, "pencil", salt, 4096);
    let server_nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let (challenge, message) = ScramFirst::decode(&first).unwrap().challenge(credential, server_nonce);
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(String::from_utf8(message.clone()).unwrap(), expected);
    let (client, proof) = client.prove(&message).unwrap();
    let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    assert_eq!(String::from_utf8(proof.clone()).unwrap(), expected);
    let answer = challenge.verify(&proof).unwrap();
    assert_eq!(answer, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    client.check(&answer).unwrap();
}

#[test]
fn both_sides_agree() {
    for hash in [Hash::Sha256, Hash::Sha512] {
        for (user, password) in [("kim", "secret"), ("a,b=c", "p=,w"), ("Zoë", "пароль")] {
            let credential =
                Credential::of_password(hash, password, b"0123456789abcdef".to_vec(), ITERATIONS_MIN);
            exchange(hash, user, password, &credential).unwrap();
            assert_eq!(exchange(hash, user, "wrong", &credential), Err(SaslError::Refused));
            let decoy = Credential::decoy(hash, b"x", user, ITERATIONS_MIN);
            assert_eq!(exchange(hash, user, password, &decoy), Err(SaslError::Refused));
        }
    }
}

#[test]
fn a_client_trusts_no_weak_or_foreign_challenge() {
    let prove = |challenge: &str| {
        let (client, _) = ScramClient::begin(Hash::Sha256, "kim", "secret", "abc");
        client.prove(challenge.as_bytes()).map(|_| ())
    };
    prove("r=abcd,s=c2FsdA==,i=4096").unwrap();
    for wrong in [
        "r=abc,s=c2FsdA==,i=4096",
        "r=xyz,s=c2FsdA==,i=4096",
        "r=abcd,s=c2FsdA==,i=4095",
        "r=abcd,s=c2FsdA==,i=99999999",
        "r=abcd,s=!,i=4096",
        "r=abcd,i=4096",
        "m=x,r=abcd,s=c2FsdA==,i=4096",
    ] {
        assert!(matches!(prove(wrong), Err(SaslError::Malformed { .. })), "{wrong}");
    }
}

#[test]
fn a_server_must_prove_itself() {
    let credential = Credential::of_password(Hash::Sha256, "secret", b"salt".to_vec(), ITERATIONS_MIN);
    let begun = || {
        let (client, first) = ScramClient::begin(Hash::Sha256, "kim", "secret", "abc");
        let (challenge, message) = ScramFirst::decode(&first).unwrap().challenge(credential.clone(), "d");
        (client.prove(&message).unwrap(), challenge)
    };
    let ((client, _), _) = begun();
    assert_eq!(client.check(b"v=AAAA"), Err(SaslError::ServerUnproven));
    let ((client, _), _) = begun();
    assert_eq!(client.check(b"e=unknown-user"), Err(SaslError::Server("unknown-user".into())));
    let ((_, proof), challenge) = begun();
    let twice = String::from_utf8(proof).unwrap().replace("r=abcd", "r=abcabcd");
    // Taken as an answer, as Kafka does, but the proof is of another text.
    assert_eq!(challenge.verify(twice.as_bytes()), Err(SaslError::Refused));
    let ((_, proof), challenge) = begun();
    let other = String::from_utf8(proof).unwrap().replace("r=abcd", "r=abce");
    assert!(matches!(challenge.verify(other.as_bytes()), Err(SaslError::Malformed { .. })));
}
