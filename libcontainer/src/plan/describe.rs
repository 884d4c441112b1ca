//! A plan as text: what would be done, by whom, in which order.

use std::fmt::Write as _;

use super::{DescriptorSource, Plan};

impl Plan {
    /// The whole plan, one act a line.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::from("parent, before the clone:\n");
        self.describe_parent(&mut text).unwrap_or_default();
        text.push_str("child:\n");
        for (index, step) in self.init.steps().iter().enumerate() {
            let line = step.describe(&self.init);
            let from = match self.init.pointer(index) {
                Some(pointer) => format!("  # {pointer}"),
                None => String::new(),
            };
            writeln!(text, "  {index:3} {line}{from}").unwrap_or_default();
        }
        text
    }

    fn describe_parent(&self, text: &mut String) -> std::fmt::Result {
        for descriptor in &self.descriptors {
            let source = match &descriptor.source {
                DescriptorSource::Namespace(namespace) => format!("namespace {}", namespace.path),
                DescriptorSource::Preserved(number) => format!("preserve descriptor {number}"),
                DescriptorSource::Init => "pidfd of init".to_owned(),
                DescriptorSource::Append(path) => format!("append to {path}"),
                DescriptorSource::Handler => "program of the handler".to_owned(),
            };
            writeln!(text, "  @{} {source}  # {}", descriptor.slot.0, descriptor.pointer)?;
        }
        for tree in &self.trees {
            writeln!(text, "  @{} tree {}  # {}", tree.slot.0, tree.source, tree.pointer)?;
        }
        if let Some(path) = &self.cgroups_path {
            writeln!(text, "  cgroup {path}  # /linux/cgroupsPath")?;
        }
        writeln!(text, "  clone {:?} flags={:#x}", self.shape, self.clone_flags)?;
        text.push_str("parent, at the meetings:\n");
        if let Some(mappings) = &self.mappings {
            for (name, ranges) in [("uid", &mappings.uids), ("gid", &mappings.gids)] {
                for range in ranges {
                    let (inside, outside, size) = (range.container_id, range.host_id, range.size);
                    writeln!(text, "  {name}_map {inside} {outside} {size}")?;
                }
            }
        }
        if let Some(value) = self.oom_score_adj {
            writeln!(text, "  oom_score_adj {value}  # /process/oomScoreAdj")?;
        }
        if let Some(group) = &self.rdt {
            let directory = group.directory().display();
            writeln!(text, "  class of service {directory}  # /linux/intelRdt")?;
        }
        for device in &self.net_devices {
            let (name, new_name, pointer) = (&device.name, &device.new_name, &device.pointer);
            writeln!(text, "  move network device {name} as {new_name}  # {pointer}")?;
        }
        for limit in &self.rlimits {
            let (soft, hard) = (limit.soft, limit.hard);
            writeln!(text, "  {} soft={soft} hard={hard}  # {}", limit.name, limit.pointer)?;
        }
        let hooks = [
            ("prestart", &self.hooks.prestart),
            ("createRuntime", &self.hooks.create_runtime),
            ("poststart", &self.hooks.poststart),
            ("poststop", &self.hooks.poststop),
        ];
        for (kind, list) in hooks {
            for (index, hook) in list.iter().enumerate() {
                writeln!(text, "  {kind} {}  # /hooks/{kind}/{index}", hook.path)?;
            }
        }
        if let Some(listener) = &self.listener {
            writeln!(text, "  listener {}  # /linux/seccomp/listenerPath", listener.path)?;
        }
        Ok(())
    }
}
