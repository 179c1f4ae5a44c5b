//! Promise: any security that librdkafka knows works through `kafka.properties`, and a login that is refused is said at the
//! start, clearly, with exit code 2.

use k2_tests::*;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// `--set` for properties.
fn with<'a>(launch: Launch, brokers: &str, properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Launch {
    let launch = launch.arg("--set").arg(format!("kafka.brokers={brokers}"));
    properties.into_iter().fold(launch, |l, (key, value)| l.arg("--set").arg(format!("kafka.properties.{key}={value}")))
}

fn path(folder: &Path, file: &str) -> String {
    folder.join(file).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn sasl_and_client_certificates() {
    let (kafka, _lent) = services::own_secure_kafka();
    let topic = Topic::create(&kafka.plain, "secure", 2).await;
    let ledger = Load::on(&topic).shape(Shape::Odd).count(2_000).run().await;
    let (ca, certificate, key) =
        (path(&kafka.tls, "ca.pem"), path(&kafka.tls, "client.pem"), path(&kafka.tls, "client.key"));
    let (user, password) = (kafka.user.0.as_str(), kafka.user.1.as_str());
    let sasl = |mechanism, password| {
        [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanism", mechanism),
            ("sasl.username", user),
            ("sasl.password", password),
            ("ssl.ca.location", ca.as_str()),
        ]
    };
    let mtls = [
        ("security.protocol", "ssl"),
        ("ssl.ca.location", ca.as_str()),
        ("ssl.certificate.location", certificate.as_str()),
        ("ssl.key.location", key.as_str()),
    ];
    let deployed = || {
        let pipeline = Pipeline::bronze(&topic);
        (pipeline.clone(), Deployment::local(&kafka.plain).pipeline(pipeline))
    };

    for (brokers, properties) in [
        (&kafka.sasl, sasl("SCRAM-SHA-512", password).to_vec()),
        (&kafka.sasl, sasl("SCRAM-SHA-256", password).to_vec()),
        (&kafka.sasl, sasl("PLAIN", password).to_vec()),
        (&kafka.mtls, mtls.to_vec()),
    ] {
        let (pipeline, deployment) = deployed();
        with(deployment.run_until_caught_up(), brokers, properties.iter().copied()).run(SOON).await.ok();
        let table = deployment.table(&pipeline).await.unwrap();
        oracle::compare(&table, &ledger).await.assert_complete();
        with(deployment.k2(["verify", "--kafka"]), brokers, properties).run(SOON).await.ok();
    }

    let (pipeline, deployment) = deployed();
    let no_ca = sasl("PLAIN", password).into_iter().filter(|(key, _)| *key != "ssl.ca.location").collect();
    let no_certificate =
        mtls.into_iter().filter(|(key, _)| !key.starts_with("ssl.cert") && !key.starts_with("ssl.key"));
    for (brokers, properties, words) in [
        (&kafka.sasl, sasl("SCRAM-SHA-512", "wrong").to_vec(), "kafka.properties"),
        (&kafka.sasl, sasl("PLAIN", "wrong").to_vec(), "kafka.properties"),
        (&kafka.sasl, no_ca, "certificate"),
        (&kafka.mtls, no_certificate.collect(), "certificate"),
    ] {
        let exit = with(deployment.run(), brokers, properties).run(SOON).await.expect(2);
        assert!(exit.log.contains(words), "«{words}» is not in: {}", exit.log);
        assert!(!exit.log.contains(password), "a secret is in: {}", exit.log);
    }
    assert!(deployment.table(&pipeline).await.is_none_or(|t| t.progress(&topic.name) == 0));
}
