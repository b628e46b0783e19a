//! The files are made by openssl, and the client is curl.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use caracal_config::HttpListener;
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;
use crate::http::tests::{eventually, free_port, start};
use crate::http::{Troubles, tls};

/// A folder of certificates and keys: `NAME.crt` and `NAME.key`.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().expect("a folder"));
        fs::write(files.0.path().join("openssl.cnf"), "[req]\ndistinguished_name = dn\n[dn]\n").expect("room");
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("the path is text").to_owned()
    }

    fn authority(&self, name: &str) {
        self.make(name, &["-addext", "basicConstraints=critical,CA:TRUE"]);
    }

    fn certify(&self, name: &str, authority: &str) {
        let (certificate, key) = (self.path(&format!("{authority}.crt")), self.path(&format!("{authority}.key")));
        let addresses = "subjectAltName=IP:127.0.0.1";
        self.make(name, &["-addext", addresses, "-CA", &certificate, "-CAkey", &key]);
    }

    fn make(&self, name: &str, more: &[&str]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"])
            .args(["-config", &self.path("openssl.cnf"), "-subj", &format!("/CN={name}")])
            .args(["-keyout", &self.path(&format!("{name}.key")), "-out", &self.path(&format!("{name}.crt"))])
            .args(more)
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// A server's files by their names, empty for none.
    fn wanted(&self, certificate: &str, key: &str, authorities: &str, clients: ClientCertificate) -> TlsFiles {
        let file = |parameter, name: &str| {
            let path = (!name.is_empty()).then(|| self.path(name).into());
            NamedFile { parameter, path }
        };
        TlsFiles {
            certificate: file("CertFile", certificate),
            key: file("KeyFile", key),
            authorities: file("CAFile", authorities),
            clients,
        }
    }

    /// What a client gets that knows the authority `ours`, with the certificate of that name if any.
    fn get(&self, port: u16, client: &str) -> Option<String> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--max-time", "10", "--noproxy", "*", "--cacert", &self.path("ours.crt")]);
        if !client.is_empty() {
            curl.args(["--cert", &self.path(&format!("{client}.crt")), "--key", &self.path(&format!("{client}.key"))]);
        }
        let got = curl.arg(format!("https://127.0.0.1:{port}/yes")).output().expect("curl is installed");
        got.status.success().then(|| String::from_utf8_lossy(&got.stdout).into_owned())
    }
}

fn files() -> Files {
    let files = Files::new();
    files.authority("ours");
    files.authority("theirs");
    for (name, authority) in [("server", "ours"), ("renewed", "ours"), ("client", "ours"), ("stranger", "theirs")] {
        files.certify(name, authority);
    }
    files
}

fn on(port: u16, tls: TlsFiles) -> HttpListener {
    HttpListener { enabled: true, host: "127.0.0.1".to_owned(), port, tls: Some(tls) }
}

#[test]
fn clients_are_served_by_their_certificates() {
    use ClientCertificate::{Any, Unasked, Verified, VerifiedIfGiven};
    let files = files();
    // Who is served of: nobody in particular, one of ours, one of theirs.
    for (asked, served) in [
        (Unasked, [true, true, true]),
        (Any, [false, true, true]),
        (VerifiedIfGiven, [true, true, false]),
        (Verified, [false, true, false]),
    ] {
        let port = free_port();
        let wanted = files.wanted("server.crt", "server.key", "ours.crt", asked);
        let (_want, wanted) = watch::channel(on(port, wanted));
        start(wanted, Troubles::default());
        eventually(|| files.get(port, "client"));
        for (client, served) in ["", "client", "stranger"].iter().zip(served) {
            let expected = served.then(|| "yes\n".to_owned());
            assert_eq!(files.get(port, client), expected, "{asked:?} of {client:?}");
        }
        let mut clear = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        clear.write_all(b"GET /yes HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is there");
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut clear, &mut answer).ok();
        assert!(!answer.windows(4).any(|four| four == b"yes\n"), "nothing is said in the clear");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    use ClientCertificate::{Unasked, Verified};
    let files = files();
    fs::write(files.path("noise"), "noise").expect("room");
    fs::write(files.path("cut"), "-----BEGIN CERTIFICATE-----\nAAAA\n").expect("room");
    let path = |name: &str| files.path(name);
    for (certificate, key, authorities, clients, expected) in [
        ("server.crt", "", "", Unasked, "KeyFile names no file, and TLS takes the certificate's key".to_owned()),
        ("", "server.key", "", Unasked, "CertFile names no file, and TLS takes a certificate".to_owned()),
        (
            "server.crt",
            "server.key",
            "",
            Verified,
            "CAFile names no file, and TLS takes the certificates of those who certify clients".to_owned(),
        ),
        (
            "gone",
            "server.key",
            "",
            Unasked,
            format!("CertFile names {}, which cannot be read: No such file or directory (os error 2)", path("gone")),
        ),
        (
            "server.crt",
            "noise",
            "",
            Unasked,
            format!("KeyFile names {}, which holds no private key in PEM form: there is none in it", path("noise")),
        ),
        (
            "cut",
            "server.key",
            "",
            Unasked,
            format!(
                "CertFile names {}, which holds no certificate in PEM form: a section in it has no end",
                path("cut")
            ),
        ),
        (
            "server.crt",
            "server.key",
            "noise",
            Verified,
            format!("CAFile names {}, which holds no certificate in PEM form: there is none in it", path("noise")),
        ),
        (
            "server.crt",
            "client.key",
            "",
            Unasked,
            "CertFile and KeyFile name files that cannot be used together: keys may not be consistent: KeyMismatch"
                .to_owned(),
        ),
    ] {
        let wanted = files.wanted(certificate, key, authorities, clients);
        let error = tls::Identity::load(&wanted).err().expect("it cannot be used");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn renewed_files_are_taken_and_broken_ones_leave_what_was() {
    let files = files();
    let copy = |name: &str| {
        for end in ["crt", "key"] {
            fs::copy(files.path(&format!("{name}.{end}")), files.path(&format!("now.{end}"))).expect("room");
        }
    };
    let port = free_port();
    let wanted = on(port, files.wanted("now.crt", "now.key", "", ClientCertificate::Unasked));
    let (_want, wanted) = watch::channel(wanted);
    let troubles = Troubles::default();
    start(wanted, troubles.clone());
    let trouble = eventually(|| troubles.all().first().cloned());
    assert!(trouble.1.starts_with(&format!("CertFile names {}, which cannot be read", files.path("now.crt"))));
    copy("server");
    eventually(|| files.get(port, ""));
    assert_eq!(troubles.all(), []);
    let subject = || {
        let shown = Command::new("sh")
            .arg("-c")
            .arg(format!(
                "openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -subject"
            ))
            .output()
            .expect("openssl is installed");
        String::from_utf8_lossy(&shown.stdout).trim().replace(' ', "")
    };
    assert_eq!(subject(), "subject=CN=server");
    fs::write(files.path("now.key"), "half of it").expect("room");
    let trouble = eventually(|| troubles.all().first().cloned());
    assert!(trouble.1.starts_with("KeyFile names "), "{trouble:?}");
    assert_eq!(files.get(port, "").as_deref(), Some("yes\n"), "with what it has");
    copy("renewed");
    eventually(|| (subject() == "subject=CN=renewed").then_some(()));
    eventually(|| troubles.all().is_empty().then_some(()));
}
