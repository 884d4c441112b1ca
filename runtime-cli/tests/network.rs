//! Network devices of the host that containers get, in network namespaces of the tests' own.
#![allow(missing_docs)]

mod support;

use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, Told, told};

/// A network namespace: it lasts as long as a process that sleeps in it.
struct Network(Child);

impl Network {
    fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        Self(child)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn ip(&self, line: &str) -> String {
        let mut command = self.enter();
        told(command.arg("ip"), line.split_whitespace()).code(0).out
    }

    /// One end of a pair with this name; the other end is `peer-NAME`.
    fn pair(&self, name: &str) {
        self.ip(&format!("link add {name} type veth peer name peer-{name}"));
    }

    /// husk with this as the host's network.
    fn husk(&self, bundle: &Bundle, line: &str) -> Told {
        let given = bundle.command();
        let mut command = self.enter();
        command.arg(given.get_program()).args(given.get_args());
        command.env_clear().envs(given.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(bundle.path());
        let word = |word: &str| OsString::from(if word == "ID" { bundle.id() } else { word });
        told(&mut command, line.split_whitespace().map(word))
    }

    fn has(&self, name: &str) -> bool {
        self.names().iter().any(|other| other == name)
    }

    fn names(&self) -> Vec<String> {
        self.links().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
    }

    fn links(&self) -> Vec<Value> {
        serde_json::from_str(&self.ip("-json address show")).unwrap()
    }

    /// What `ip address show` tells of a device.
    #[track_caller]
    fn link(&self, name: &str) -> Value {
        let links = self.links();
        let link = links.iter().find(|link| link["ifname"] == name);
        link.unwrap_or_else(|| panic!("no {name} in {links:?}")).clone()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn addresses(link: &Value) -> Vec<String> {
    let all = link["addr_info"].as_array().unwrap();
    let global = all.iter().filter(|address| address["scope"] == "global");
    global
        .map(|address| format!("{}/{}", address["local"].as_str().unwrap(), address["prefixlen"]))
        .collect()
}

fn is_up(link: &Value) -> bool {
    link["flags"].as_array().unwrap().iter().any(|flag| flag == "UP")
}

/// A container of the device list, in `network` if one is given.
fn bundle(script: &str, devices: Value, network: Option<&Network>) -> Bundle {
    Bundle::with(&["sh", "-c", script], |config| {
        config["linux"]["netDevices"] = devices;
        if let Some(network) = network {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            let entry = namespaces.iter_mut().find(|entry| entry["type"] == "network").unwrap();
            entry["path"] = json!(network.path());
        }
    })
}

#[test]
fn a_device_moves_with_what_is_set_on_it() {
    let (host, pod) = (Network::new(), Network::new());
    host.pair("eth7");
    host.ip("link set eth7 address 00:11:22:33:44:55 mtu 1399 up");
    host.ip("address add 192.0.2.7/24 dev eth7");
    host.ip("address add 198.51.100.1 peer 198.51.100.2/32 dev eth7");
    host.ip("address add 2001:db8::7/64 dev eth7 nodad");
    host.ip("address add 127.0.0.33/32 scope host dev eth7");
    host.ip("address add 203.0.113.1/24 dev eth7 valid_lft 1000 preferred_lft 1000");
    let bundle = bundle("true", json!({ "eth7": { "name": "net1" } }), Some(&pod));
    host.husk(&bundle, "run ID").code(0);
    assert!(!host.has("eth7"));
    let link = pod.link("net1");
    assert_eq!((&link["address"], &link["mtu"]), (&json!("00:11:22:33:44:55"), &json!(1399)));
    assert!(is_up(&link));
    // The local one and the one of limited life stay behind.
    assert_eq!(addresses(&link), ["192.0.2.7/24", "198.51.100.1/32", "2001:db8::7/64"], "{link}");
    let peer = link["addr_info"].as_array().unwrap();
    assert!(peer.iter().any(|address| address["address"] == "198.51.100.2"), "{link}");
}

#[test]
fn devices_of_a_new_namespace_keep_their_names_and_die_with_it() {
    let host = Network::new();
    host.pair("one");
    host.ip("tuntap add dev tap7 mode tap");
    host.ip("address add 192.0.2.9/24 dev one");
    let script = "for d in /sys/class/net/*; do echo ${d##*/} $(cat $d/flags); done";
    let devices = json!({ "one": {}, "tap7": { "name": "tap0" } });
    let bundle = bundle(script, devices, None);
    let mut config = bundle.config(&["sh", "-c", script]);
    config["linux"]["netDevices"] = json!({ "one": {}, "tap7": { "name": "tap0" } });
    config["mounts"].as_array_mut().unwrap().push(
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] }),
    );
    bundle.write(&config);
    let told = host.husk(&bundle, "run ID").code(0);
    let names: Vec<&str> = told.out.lines().filter_map(|l| l.split(' ').next()).collect();
    assert_eq!(names, ["lo", "one", "tap0"], "{told:?}");
    for line in told.out.lines() {
        let flags = u32::from_str_radix(line.rsplit("0x").next().unwrap(), 16).unwrap();
        assert_eq!(flags & 1, 1, "{line} is down");
    }
    assert!(!host.has("one") && !host.has("tap7"));
}

#[test]
fn a_template_gets_the_first_free_number() {
    let (host, pod) = (Network::new(), Network::new());
    for name in ["a0", "b0"] {
        host.pair(name);
    }
    pod.pair("eth0");
    let devices = json!({ "a0": { "name": "eth%d" }, "b0": { "name": "eth%d" } });
    host.husk(&bundle("true", devices, Some(&pod)), "run ID").code(0);
    assert!(pod.has("eth1") && pod.has("eth2"), "{:?}", pod.names());
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_moves() {
    let (host, pod) = (Network::new(), Network::new());
    host.pair("eth7");
    host.ip("link set eth7 up");
    pod.pair("net1");
    let bundle = bundle("true", json!({ "eth7": { "name": "net1" } }), Some(&pod));
    let words = "move netDevice eth7 to namespace ";
    let told = host.husk(&bundle, "create ID").fails(1, words);
    assert!(told.err.contains("file exists"), "{told:?}");
    assert!(is_up(&host.link("eth7")));
    bundle.assert_gone();
}

#[test]
fn what_moved_comes_back_when_the_creation_fails() {
    let (host, pod) = (Network::new(), Network::new());
    host.pair("eth7");
    host.ip("link set eth7 up");
    host.ip("address add 192.0.2.7/24 dev eth7");
    host.ip("address add 2001:db8::7/64 dev eth7 nodad");
    host.pair("eth8");
    for (place, second) in [(Some(&pod), "nothing"), (None, "nothing"), (None, "eth8")] {
        let devices = json!({ "eth7": { "name": "net1" }, second: {} });
        let bundle = bundle("true", devices, place);
        let mut config: Value =
            serde_json::from_slice(&std::fs::read(bundle.path().join("config.json")).unwrap())
                .unwrap();
        config["process"]["args"] = json!(["/no/such/program"]);
        bundle.write(&config);
        let words = if second == "nothing" {
            "link not found for interface nothing on runtime namespace: no such device"
        } else {
            "/no/such/program"
        };
        host.husk(&bundle, "create ID").fails(1, words);
        let link = host.link("eth7");
        assert!(is_up(&link), "{link}");
        assert_eq!(addresses(&link), ["192.0.2.7/24", "2001:db8::7/64"], "{link}");
        assert!(!is_up(&host.link("eth8")));
        assert!(!pod.has("net1") && !pod.has("eth7"));
        bundle.assert_gone();
    }
}

#[test]
fn what_the_kernel_ties_to_a_namespace_stays() {
    let host = Network::new();
    host.ip("link add br7 type bridge");
    host.ip("link set br7 up");
    for name in ["lo", "br7"] {
        let bundle = bundle("true", json!({ name: { "name": "other" } }), None);
        let words = format!("fail to move network device {name} to network namespace");
        host.husk(&bundle, "create ID").fails(1, &words);
        bundle.assert_gone();
    }
    assert!(is_up(&host.link("br7")) && host.has("lo"));
}

#[test]
fn the_container_needs_a_network_of_its_own() {
    let host = Network::new();
    host.pair("eth7");
    let words = "unable to move network devices without a NET namespace";
    // By its path it is the runtime's own as well.
    let joined = bundle("true", json!({ "eth7": {} }), Some(&host));
    host.husk(&joined, "create ID").fails(1, words);
    let bundle = bundle("true", json!({ "eth7": {} }), None);
    let mut config = bundle.config(&["true"]);
    config["linux"]["netDevices"] = json!({ "eth7": {} });
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|entry| entry["type"] != "network");
    bundle.write(&config);
    host.husk(&bundle, "create ID").fails(1, words);
    host.husk(&bundle, "--rootless true create ID").fails(1, words);
    let words = "network devices are not supported for rootless containers";
    let mut config = bundle.config(&["true"]);
    config["linux"]["netDevices"] = json!({ "eth7": {} });
    bundle.write(&config);
    host.husk(&bundle, "--rootless true create ID").fails(1, words);
    assert!(host.has("eth7"));
}

/// A user namespace of its own changes nothing about who moves devices.
#[test]
fn containers_with_a_user_namespace_get_devices_as_well() {
    let host = Network::new();
    host.pair("eth7");
    let bundle = bundle("cat /proc/net/dev", json!({ "eth7": { "name": "net1" } }), None);
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(bundle.path().join("config.json")).unwrap()).unwrap();
    let mapping = json!([{ "containerID": 0, "hostID": 200_000, "size": 65536 }]);
    config["linux"]["uidMappings"] = mapping.clone();
    config["linux"]["gidMappings"] = mapping;
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    bundle.write(&config);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bundle.path(), open).unwrap();
    let told = host.husk(&bundle, "run ID").code(0);
    assert!(told.out.contains("net1:"), "{told:?}");
}

#[test]
fn parameters_of_the_callers_network_are_not_the_containers_to_set() {
    let host = Network::new();
    let bundle = bundle("true", json!({}), Some(&host));
    let path = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    bundle.write(&config);
    let words = "is not allowed in the hosts network namespace";
    host.husk(&bundle, "create ID").fails(1, words);
    // Seen from elsewhere it is another's.
    bundle.line("run ID").code(0);
}
