//! Every field of the specification's schema is either applied or refused by name.
//!
//! `every-field.json` has a value for each field that is applied. Taking a field away must change
//! the plan or be an error; putting a refused field in must be an error at that field.

use serde_json::{Value, json};

use crate::host::Host;
use crate::plan::{Options, Plan, PlanError, plan_create};
use crate::spec::Spec;

const FIELDS: &str = include_str!("../../../tests/data/spec-fields.txt");
const EVERY_FIELD: &str = include_str!("../../../tests/data/every-field.json");

/// Fields that are refused, each with a value that asks for something. A later release that
/// applies one moves it into `every-field.json`.
fn refused() -> Vec<(&'static str, Value)> {
    vec![
        ("/process/apparmorProfile", json!("example")),
        ("/process/commandLine", json!("cmd.exe")),
        ("/process/selinuxLabel", json!("system_u:system_r:svirt_lxc_net_t:s0:c1,c2")),
        ("/process/user/username", json!("ContainerUser")),
    ]
}

/// Sections of other platforms: ignored with a warning, but refused where there is none for Linux.
fn of_other_platforms() -> Vec<(&'static str, Value)> {
    vec![
        ("/freebsd", json!({"devices": []})),
        ("/solaris", json!({"milestone": "x"})),
        ("/vm", json!({"kernel": {"path": "/vmlinuz"}})),
        ("/windows", json!({"layerFolders": ["x"]})),
        ("/zos", json!({"namespaces": []})),
    ]
}

/// Fields that concern later processes of the container: create checks them, so that each wrong
/// value is an error at its place.
fn of_exec() -> Vec<(&'static str, &'static str)> {
    vec![
        ("/process/execCPUAffinity", "/process/execCPUAffinity/initial"),
        ("/process/execCPUAffinity/initial", "/process/execCPUAffinity/initial"),
        ("/process/execCPUAffinity/final", "/process/execCPUAffinity/final"),
    ]
}

/// Fields that ask for nothing without another one: each with that other document, merged into
/// `every-field.json` (RFC 7396) before the field is taken away.
fn companions() -> Vec<(&'static str, Value)> {
    let deadline = json!({"process": {"scheduler": {
        "policy": "SCHED_DEADLINE", "nice": null, "flags": null,
        "runtime": 1_000_000, "deadline": 2_000_000, "period": 3_000_000}}});
    let terminal =
        json!({"process": {"terminal": true, "consoleSize": {"height": 25, "width": 80}}});
    let mappings = json!([
        {"containerID": 70_000, "hostID": 300_000, "size": 10},
        {"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    vec![
        ("/process/scheduler/runtime", deadline.clone()),
        ("/process/scheduler/deadline", deadline.clone()),
        ("/process/scheduler/period", deadline),
        (
            "/process/scheduler/priority",
            json!({"process": {"scheduler": {"policy": "SCHED_FIFO", "nice": null, "priority": 7}}}),
        ),
        ("/process/terminal", terminal.clone()),
        ("/process/consoleSize", terminal.clone()),
        ("/process/consoleSize/height", terminal.clone()),
        ("/process/consoleSize/width", terminal),
        ("/linux/uidMappings/-/containerID", json!({"linux": {"uidMappings": mappings}})),
        ("/linux/gidMappings/-/containerID", json!({"linux": {"gidMappings": mappings}})),
        ("/linux/mountLabel", json!({"linux": {"mountLabel": "system_u:object_r:x_t:s0"}})),
        (
            "/linux/personality/flags",
            json!({"linux": {"personality": {"flags": ["ADDR_NO_RANDOMIZE"]}}}),
        ),
    ]
}

#[test]
fn each_is_applied_or_refused() {
    let refused = refused();
    let elsewhere = of_other_platforms();
    let companions = companions();
    let mut wrong = Vec::new();
    for field in FIELDS.lines().filter(|line| line.starts_with('/')) {
        let refusal = refused
            .iter()
            .find(|(path, _)| field == *path || field.starts_with(&format!("{path}/")));
        let checked = of_exec().into_iter().find(|(path, _)| *path == field);
        if let Some((path, value)) = elsewhere.iter().find(|(path, _)| field.starts_with(path)) {
            if let Err(reason) = is_passed_over(path, value) {
                wrong.push(format!("{field}: {reason}"));
            }
            continue;
        }
        let verdict = match (refusal, checked) {
            (Some((path, value)), _) => is_refused(path, value),
            (None, Some((_, place))) => is_refused(place, &json!("no list")),
            (None, None) => {
                let companion = companions.iter().find(|(path, _)| *path == field);
                is_applied(field, companion.map(|(_, document)| document))
            }
        };
        if let Err(reason) = verdict {
            wrong.push(format!("{field}: {reason}"));
        }
    }
    assert!(wrong.is_empty(), "neither applied nor refused:\n{}", wrong.join("\n"));
}

#[test]
fn the_document_with_every_field_is_planned() {
    plan(&every_field()).unwrap();
}

fn is_refused(path: &str, value: &Value) -> Result<(), String> {
    let mut document = every_field();
    put(&mut document, path, value.clone());
    is_refused_in(&document, path)
}

fn is_refused_in(document: &Value, path: &str) -> Result<(), String> {
    match plan(document) {
        Err(error) if error.pointer.starts_with(path) => Ok(()),
        Err(error) => Err(format!("the refusal names {} ({})", error.pointer, error.message)),
        Ok(_) => Err("accepted".to_owned()),
    }
}

/// With a warning beside `linux`, refused without it.
fn is_passed_over(path: &str, value: &Value) -> Result<(), String> {
    let mut document = every_field();
    let reference = plan(&document).map_err(|error| error.message)?;
    put(&mut document, path, value.clone());
    let planned = plan(&document).map_err(|error| error.message)?;
    if planned.warnings.iter().filter(|warning| warning.contains(path)).count() != 1 {
        return Err(format!("warnings: {:?}", planned.warnings));
    }
    if (Plan { warnings: reference.warnings.clone(), ..planned }) != reference {
        return Err("it changes the plan".to_owned());
    }
    take(&mut document, "/linux");
    is_refused_in(&document, path)
}

fn is_applied(field: &str, companion: Option<&Value>) -> Result<(), String> {
    let mut with = every_field();
    if let Some(companion) = companion {
        merge(&mut with, companion);
    }
    let reference = match plan(&with) {
        Ok(plan) => plan,
        // A value that is told to be wrong at its place is not ignored.
        Err(error) if error.pointer.starts_with(field) => return Ok(()),
        Err(error) => return Err(format!("with it: {}: {}", error.pointer, error.message)),
    };
    let mut without = with;
    if !take(&mut without, field) {
        return Err("missing in every-field.json".to_owned());
    }
    match plan(&without) {
        Ok(plan) if plan == reference => Err("taking it away changes nothing".to_owned()),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn plan(document: &Value) -> Result<Plan, PlanError> {
    let spec = Spec::parse(document.to_string().as_bytes()).unwrap();
    let options = Options {
        id: "example".to_owned(),
        bundle: "/bundles/example".to_owned(),
        console: true,
        ..Options::default()
    };
    plan_create(&spec, &options, &Host::fixed())
}

fn every_field() -> Value {
    serde_json::from_str(EVERY_FIELD).unwrap()
}

/// The container of a path's last member: `-` is the first element, `*` the first member.
fn descend<'a>(value: &'a mut Value, segment: &str) -> Option<&'a mut Value> {
    match segment {
        "-" => value.as_array_mut()?.first_mut(),
        "*" => value.as_object_mut()?.values_mut().next(),
        name => value.as_object_mut()?.get_mut(name),
    }
}

fn parent<'a, 'b>(document: &'a mut Value, path: &'b str) -> Option<(&'a mut Value, &'b str)> {
    let (above, name) = path.rsplit_once('/')?;
    let parent =
        above.split('/').skip(1).try_fold(document, |value, segment| descend(value, segment))?;
    Some((parent, name))
}

fn take(document: &mut Value, path: &str) -> bool {
    // The first element that has the member: not every mount has mappings.
    let Some(at) = path.find("/-/") else {
        return parent(document, path)
            .and_then(|(parent, name)| parent.as_object_mut()?.remove(name))
            .is_some();
    };
    let (above, below) = (&path[..at], &path[at + 3..]);
    let Some((parent, name)) = parent(document, above) else { return false };
    let Some(list) = parent.get_mut(name).and_then(Value::as_array_mut) else { return false };
    list.iter_mut().any(|element| take(element, &format!("/{below}")))
}

fn put(document: &mut Value, path: &str, value: Value) {
    let (above, name) = path.rsplit_once('/').unwrap();
    let parent = above.split('/').skip(1).fold(document, |value, segment| {
        value.as_object_mut().unwrap().entry(segment).or_insert_with(|| json!({}))
    });
    parent.as_object_mut().unwrap().insert(name.to_owned(), value);
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let object = target.as_object_mut().unwrap();
    for (name, value) in members {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
