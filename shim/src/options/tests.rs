use super::*;

fn any(type_url: &str, value: Vec<u8>) -> Any {
    Any { type_url: type_url.to_owned(), value, ..Any::default() }
}

/// A field of a number, as protobuf writes it.
fn number(field: u8, value: u32) -> Vec<u8> {
    let mut bytes = vec![field << 3];
    let mut rest = value;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A field of a text shorter than 128 bytes.
fn string(field: u8, text: &str) -> Vec<u8> {
    [&[field << 3 | 2, text.len() as u8], text.as_bytes()].concat()
}

#[test]
fn all_fields_of_the_runc_shim() {
    let fields = [
        number(1, 1),
        number(2, 1),
        string(3, "/shims"),
        number(4, 100_000),
        number(5, 100_001),
        string(6, "/usr/bin/runc"),
        string(7, "/run/elsewhere"),
        string(8, "/usr/sbin/criu"),
        number(9, 1),
        string(10, "/images"),
        string(11, "/work"),
        number(13, 3),
    ];
    let (options, warnings) =
        decode(Some(&any("containerd.runc.v1.Options", fields.concat()))).unwrap();
    let expected = Options {
        no_pivot_root: true,
        no_new_keyring: true,
        shim_cgroup: "/shims".to_owned(),
        io_uid: 100_000,
        io_gid: 100_001,
        root: "/run/elsewhere".to_owned(),
        systemd_cgroup: true,
        criu_path: "/usr/sbin/criu".to_owned(),
        criu_image_path: "/images".to_owned(),
        criu_work_path: "/work".to_owned(),
    };
    assert_eq!(options, expected);
    let ignored = "BinaryName \"/usr/bin/runc\" is ignored: the shim is its own runtime";
    assert_eq!(warnings, [ignored]);
}

#[test]
fn options_of_old_clients() {
    let fields = [number(1, 1), string(9, "/shims"), number(10, 7), number(11, 8)];
    let old = any("containerd.linux.runc.CreateOptions", fields.concat());
    let (options, warnings) = decode(Some(&old)).unwrap();
    assert!(options.no_pivot_root && !options.no_new_keyring && warnings.is_empty());
    assert_eq!((options.io_uid, options.io_gid, options.shim_cgroup.as_str()), (7, 8, "/shims"));
}

#[test]
fn nothing_and_unknown_types_are_no_errors() {
    for nothing in [None, Some(&Any::default())] {
        assert_eq!(decode(nothing).unwrap(), (Options::default(), Vec::new()));
        assert_eq!(decode_checkpoint(nothing).unwrap().0, CheckpointOptions::default());
    }
    let unknown = any("io.katacontainers.Options", vec![0xff; 9]);
    let warning = "options of type \"io.katacontainers.Options\" are not known: ignored";
    assert_eq!(decode(Some(&unknown)).unwrap(), (Options::default(), vec![warning.to_owned()]));
    let error = decode(Some(&any("containerd.runc.v1.Options", vec![0xff]))).unwrap_err();
    assert!(error.starts_with("options of type \"containerd.runc.v1.Options\": "), "{error}");
}

fn of_body(body: &str) -> Result<(Options, Vec<String>), String> {
    let mut field = vec![3 << 3 | 2];
    field.extend([body.len() as u8 & 0x7f | 0x80, (body.len() >> 7) as u8]);
    field.extend(body.as_bytes());
    decode(Some(&any("runtimeoptions.v1.Options", field)))
}

/// As containerd's CRI writes `options` of a runtime that it does not know.
#[test]
fn a_body_of_toml() {
    let body = "BinaryName = ''\nIoUid = 1_000\nRoot = \"/run/\\u0068usk\" # a comment\n\
                SystemdCgroup = true\nno_pivot_root=true\n\"TypeUrl\" = 'x'\n\n\
                Colours = [1, 2]\n[further]\nRoot = 'not this'\n";
    let (options, warnings) = of_body(body).unwrap();
    assert_eq!((options.io_uid, options.root.as_str()), (1000, "/run/husk"));
    assert!(options.systemd_cgroup && options.no_pivot_root && !options.no_new_keyring);
    let expected =
        ["table [further] is not known: ignored", "option \"Colours\" is not known: ignored"];
    assert_eq!(warnings, expected);
    assert_eq!(of_body("").unwrap().0, Options::default());
}

#[test]
fn a_body_of_json() {
    let (options, warnings) =
        of_body(r#" {"systemd_cgroup": true, "Root": "/r", "x": null}"#).unwrap();
    assert!(options.systemd_cgroup && options.root == "/r");
    assert_eq!(warnings, ["option \"x\" is not known: ignored"]);
}

#[test]
fn wrong_values_are_errors() {
    for (body, error) in [
        ("SystemdCgroup = 'yes'", "ConfigBody: SystemdCgroup must be true or false"),
        ("SystemdCgroup = yes", "ConfigBody: line 1: \"yes\" is no value"),
        ("\nRoot = 1", "ConfigBody: Root must be a string"),
        ("IoUid = -1", "ConfigBody: IoUid must be a number from 0 to 4294967295"),
        ("Root", "ConfigBody: line 1: a name and = are expected"),
        ("Root = ", "ConfigBody: line 1: a value is expected"),
        ("Root = 'x", "ConfigBody: line 1: a string has no end"),
        ("Root = '/x' y", "ConfigBody: line 1: \"y\" is not expected after the value"),
        ("Root = \"\"\"x", "ConfigBody: line 1: strings of several lines are not read"),
    ] {
        assert_eq!(of_body(body).unwrap_err(), error, "{body}");
    }
}

#[test]
fn a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("options.toml");
    let path = path.to_str().unwrap();
    let given = any("runtimeoptions.v1.Options", string(2, path));
    let error = decode(Some(&given)).unwrap_err();
    assert_eq!(error, format!("ConfigPath {path}: no such file or directory"));
    std::fs::write(path, "SystemdCgroup = true\n").unwrap();
    assert!(decode(Some(&given)).unwrap().0.systemd_cgroup);
}

#[test]
fn checkpoints() {
    let fields = [
        number(1, 1),
        number(5, 1),
        string(6, "network"),
        string(6, "ipc"),
        string(7, "soft"),
        string(8, "/eight"),
        string(9, "/nine"),
        string(10, "/parent"),
    ];
    let new = any("containerd.runc.v1.CheckpointOptions", fields.concat());
    let (options, _) = decode_checkpoint(Some(&new)).unwrap();
    assert!(options.exit && options.file_locks && !options.open_tcp && !options.terminal);
    assert_eq!(options.empty_namespaces, ["network", "ipc"]);
    assert_eq!((options.image_path.as_str(), options.work_path.as_str()), ("/eight", "/nine"));
    assert_eq!((options.cgroups_mode.as_str(), options.parent_path.as_str()), ("soft", "/parent"));
    let old = any("containerd.linux.runc.CheckpointOptions", fields.concat());
    assert_eq!(decode_checkpoint(Some(&old)).unwrap().0.work_path, "/eight");
}

#[test]
fn details_of_a_process() {
    let details = process_details("exec-1");
    assert_eq!(details.type_url, "containerd.runc.v1.ProcessDetails");
    assert_eq!(details.value, string(1, "exec-1"));
}
