//! Servers from Debian's packages, asked over loopback inside their container.

use serde_json::json;

use crate::support::{Container, eventually};

#[test]
fn nginx_serves_its_page() {
    let container = Container::debian(&[
        "/bin/bash",
        "-c",
        "mkdir -p /var/log/nginx && exec nginx -g 'daemon off;'",
    ])
    .with_docker_seccomp();
    container.create_and_start();
    let request =
        "exec 3<>/dev/tcp/127.0.0.1/80 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3";
    let mut page = String::new();
    eventually("nginx answers", || {
        page = container.exec(request).stdout;
        !page.is_empty()
    });
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("Welcome to nginx"), "{page}");
    let workers = container.exec("ps -o user= -C nginx | sort | uniq -c").succeeded().stdout;
    assert!(workers.contains("www-data"), "workers give up root: {workers}");
    stop(&container);
}

#[test]
fn redis_keeps_what_it_is_told() {
    let container = Container::debian(&[
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--dir",
        "/var/lib/redis",
        "--save",
        "",
    ])
    .with_docker_seccomp();
    container.create_and_start();
    eventually("redis answers", || container.exec("redis-cli ping").stdout.trim() == "PONG");
    container.exec("redis-cli set answer 42").succeeded();
    assert_eq!(container.exec("redis-cli get answer").succeeded().stdout.trim(), "42");
    stop(&container);
}

#[test]
fn postgres_answers_a_query() {
    let script = "set -e; bin=$(echo /usr/lib/postgresql/*/bin); cd /var/lib/postgresql
        $bin/initdb --no-sync -A trust -D data >/tmp/initdb.log
        exec $bin/postgres -D data -k /tmp -h 127.0.0.1";
    let mut container = Container::debian(&["/bin/bash", "-c", script]).with_docker_seccomp();
    let ids = std::fs::read_to_string(crate::support::debian_rootfs().join("etc/passwd"))
        .expect("passwd");
    let line =
        ids.lines().find(|l| l.starts_with("postgres:")).expect("the package makes the user");
    let fields: Vec<u32> =
        line.split(':').skip(2).take(2).map(|n| n.parse().expect("number")).collect();
    container.mount(json!({
        "destination": "/var/lib/postgresql", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "mode=0700", format!("uid={}", fields[0]), format!("gid={}", fields[1])]
    }));
    container.config["process"]["user"] = json!({ "uid": fields[0], "gid": fields[1] });
    container.create_and_start();
    let query = "psql -h 127.0.0.1 -At -c 'select 6 * 7' postgres";
    eventually("postgres answers", || container.exec(query).stdout.trim() == "42");
    let rows = "psql -h 127.0.0.1 -At -c 'create table t as select generate_series(1, 1000) n' -c 'select sum(n) from t' postgres";
    assert!(container.exec(rows).succeeded().stdout.contains("500500"));
    stop(&container);
}

fn stop(container: &Container) {
    container.call(&["kill", &container.id, "KILL"]).succeeded();
    container.wait_for_status("stopped");
    container.call(&["delete", &container.id]).succeeded();
    assert_eq!(container.left_behind(), Vec::<String>::new());
}
