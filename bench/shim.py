#!/usr/bin/python3
"""shim.py [-n ROUNDS] [--execs N] [--pods N] [--stress SECONDS]: shims side by side, through containerd's own API.

Every round takes the contenders in another order, so that what else the machine does falls on all of them. Times are
those that a client of containerd's gRPC API sees; memory is read from /proc of the shims, after three seconds of rest. Runs
in tests/clients/enter with containerd up; tools/bench-shim starts it.
"""
import argparse, json, os, random, re, statistics, subprocess, sys, threading, time

import grpc

HERE = os.path.dirname(os.path.realpath(__file__))
subprocess.run(["protoc", f"-I{HERE}", "--python_out=/run", f"{HERE}/shim.proto"], check=True)
sys.path.insert(0, "/run")
import shim_pb2 as pb

IMAGE = "localhost/box:latest"
CTR = ["ctr"]
CONTENDERS = {
    "Go shim + runc": ["--runtime", "io.containerd.runc.v2"],
    "Go shim + husk": ["--runtime", "io.containerd.runc.v2", "--runc-binary", "/usr/local/bin/husk"],
    "husk's shim": ["--runtime", "io.containerd.husk.v1"],
}
PROCESS = json.dumps({
    "args": ["true"], "cwd": "/", "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "user": {"uid": 0, "gid": 0},
}).encode()
channel = grpc.insecure_channel("unix:///run/containerd/containerd.sock")


def call(service, verb, request, answer=pb.Empty):
    method = channel.unary_unary(
        f"/containerd.services.{service}.v1.{service.capitalize()}/{verb}",
        request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString)
    return method(request, timeout=120, metadata=(("containerd-namespace", "default"),))


def timed(times, name, function):
    began = time.perf_counter()
    result = function()
    times.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    return result


def record(contender, name, *more):
    """A container and its snapshot: no task, no shim."""
    subprocess.run([*CTR, "container", "create", *CONTENDERS[contender], *more, IMAGE, name, "sleep", "100000"], check=True,
                   stdout=subprocess.DEVNULL)


def create(name):
    mounts = call("snapshots", "Mounts", pb.MountsRequest(snapshotter="overlayfs", key=name), pb.MountsResponse).mounts
    return lambda: call("tasks", "Create", pb.CreateTaskRequest(container_id=name, rootfs=mounts))


def start(name):
    return call("tasks", "Start", pb.StartRequest(container_id=name), pb.StartResponse).pid


def execute(name, number):
    process = f"x{number}"
    call("tasks", "Exec", pb.ExecProcessRequest(container_id=name, exec_id=process, spec=pb.Any(
        type_url="types.containerd.io/opencontainers/runtime-spec/1/Process", value=PROCESS)))
    call("tasks", "Start", pb.StartRequest(container_id=name, exec_id=process))
    status = call("tasks", "Wait", pb.StartRequest(container_id=name, exec_id=process), pb.WaitResponse).exit_status
    call("tasks", "DeleteProcess", pb.StartRequest(container_id=name, exec_id=process))
    if status != 0:
        raise RuntimeError(f"{name}: exec ended with {status}")


def by_ctr(name):
    subprocess.run([*CTR, "task", "exec", "--exec-id", "c", name, "true"], check=True)


def kill(name):
    call("tasks", "Kill", pb.KillRequest(container_id=name, signal=9))
    call("tasks", "Wait", pb.StartRequest(container_id=name))


def delete(name):
    call("tasks", "Delete", pb.StartRequest(container_id=name))


def remove(*names):
    subprocess.run([*CTR, "container", "rm", *names], check=True)


def running(contender, name, *more):
    record(contender, name, *more)
    create(name)()
    start(name)


def ended(*names):
    for name in names:
        kill(name)
        delete(name)
    remove(*names)


def shims():
    return subprocess.run(["pgrep", "-f", "^[^ ]*containerd-shim-[a-z0-9-]+ .*-id "], capture_output=True, text=True).stdout.split()


def figures(pid):
    """KiB of RSS and PSS, threads, descriptors."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        text = f.read()
    return {"RSS": int(re.search(r"^Rss: +(\d+)", text, re.M)[1]), "PSS": int(re.search(r"^Pss: +(\d+)", text, re.M)[1]),
            "threads": len(os.listdir(f"/proc/{pid}/task")), "descriptors": len(os.listdir(f"/proc/{pid}/fd"))}


def at_rest():
    time.sleep(3)
    return [figures(pid) for pid in shims()]


def mean(values):
    return sum(values) / len(values)


def memory(contender, results):
    """One idle container, six execs, a pod of three, five alike."""
    running(contender, "one")
    idle, = at_rest()
    for number in range(6):
        execute("one", number)
    after, = at_rest()
    ended("one")
    group = ["--annotation", "io.containerd.runc.v2.group=pod"]
    for name in ("p1", "p2", "p3"):
        running(contender, name, *group)
    pod, = at_rest()
    ended("p1", "p2", "p3")
    five = [f"five{i}" for i in range(5)]
    for name in five:
        running(contender, name)
    alike = at_rest()
    ended(*five)
    for key, value in {
        "RSS, one idle container": idle["RSS"], "PSS of each of 5 alike": mean([f["PSS"] for f in alike]), "RSS after 6 execs": after["RSS"],
        "RSS of a pod of 3 containers": pod["RSS"], "threads": idle["threads"], "descriptors": idle["descriptors"],
    }.items():
        results[contender].setdefault(key, []).append(value)


def life(contender, results, number):
    name = f"life{number}"
    record(contender, name)
    times = results[contender]
    timed(times, "Create", create(name))
    timed(times, "Start", lambda: start(name))
    timed(times, "exec", lambda: execute(name, 0))
    timed(times, "ctr task exec", lambda: by_ctr(name))
    kill(name)
    timed(times, "Delete", lambda: delete(name))
    remove(name)


def execs(results, count):
    """COUNT rounds in three containers that live meanwhile."""
    names = {contender: f"lives{number}" for number, contender in enumerate(CONTENDERS)}
    for contender, name in names.items():
        running(contender, name)
        by_ctr(name)
    for number in range(count):
        for contender in random.sample(list(CONTENDERS), len(CONTENDERS)):
            name, times = names[contender], results[contender]
            timed(times, "exec, further ones", lambda: execute(name, number))
            timed(times, "ctr task exec, further ones", lambda: by_ctr(name))
    ended(*names.values())


def pods(contender, count):
    """The sum of PSS over the shims of COUNT containers that live at once, in MiB."""
    names = [f"pod{i}" for i in range(count)]
    for name in names:
        running(contender, name)
    found = at_rest()
    if len(found) != count:
        raise RuntimeError(f"{len(found)} shims of {count}")
    ended(*names)
    return sum(f["PSS"] for f in found) / 1024, sum(f["RSS"] for f in found) / 1024


def stress(contender, seconds):
    """Containers a second with four workers, as containerd-stress counts them."""
    runtime = "io.containerd.husk.v1" if contender == "husk's shim" else "io.containerd.runc.v2"
    out = subprocess.run(["/containerd/containerd-stress", "--json", "--image", "localhost:5000/box:latest", "--runtime", runtime,
                          "--concurrent", "4", "--duration", f"{seconds}s"], capture_output=True, text=True, check=True).stdout
    result = json.loads(out[out.index("{"):])
    if result["failures"]:
        raise RuntimeError(out)
    return result["total"] / result["seconds"] if result.get("seconds") else result["total"] / seconds


def load():
    with open("/proc/loadavg") as f:
        return float(f.read().split()[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-n", type=int, default=30)
    parser.add_argument("--execs", type=int, default=100)
    parser.add_argument("--pods", type=int, default=100)
    parser.add_argument("--stress", type=int, default=15)
    a = parser.parse_args()
    results = {c: {} for c in CONTENDERS}
    loads = [load()]

    def rounds(count, function):
        for number in range(count):
            for contender in random.sample(list(CONTENDERS), len(CONTENDERS)):
                function(contender, number)
        loads.append(load())

    rounds(2, lambda c, _: memory(c, results))
    rounds(2, lambda c, n: life(c, {c: {} for c in CONTENDERS}, f"warm{n}"))
    rounds(a.n, lambda c, n: life(c, results, n))
    if a.execs:
        execs(results, a.execs)
        loads.append(load())
    if a.pods:
        def many(contender, _):
            pss, rss = pods(contender, a.pods)
            results[contender][f"PSS of {a.pods} pods, sum"] = [pss]
            results[contender][f"RSS of {a.pods} pods, sum"] = [rss]
        rounds(1, many)
    if a.stress and os.path.exists("/containerd/containerd-stress"):
        def strain(contender, _):
            # It knows no option for the binary: its runc is runc.
            if contender != "Go shim + husk":
                results[contender].setdefault("containers a second", []).append(stress(contender, a.stress))
        rounds(3, strain)

    version = subprocess.run(["containerd", "--version"], capture_output=True, text=True).stdout.split()[2]
    print(f"containerd {version}, Linux {os.uname().release}, {os.cpu_count()} cores, load {min(loads):.1f} to {max(loads):.1f}, {a.n} rounds\n")
    print("| | " + " | ".join(CONTENDERS) + " |")
    print("|---" * (len(CONTENDERS) + 1) + "|")
    rows = [
        ("RSS, one idle container", 1024, " MiB", mean), ("PSS of each of 5 alike", 1024, " MiB", mean), ("RSS after 6 execs", 1024, " MiB", mean),
        ("RSS of a pod of 3 containers", 1024, " MiB", mean), ("threads", 1, "", max), ("descriptors", 1, "", max),
        (f"PSS of {a.pods} pods, sum", 1, " MiB", mean), (f"RSS of {a.pods} pods, sum", 1, " MiB", mean),
        ("Create", 1, " ms", None), ("Start", 1, " ms", None), ("Delete", 1, " ms", None), ("exec", 1, " ms", None),
        ("ctr task exec", 1, " ms", None),
        ("exec, further ones", 1, " ms", None), ("ctr task exec, further ones", 1, " ms", None), ("containers a second", 1, "", mean),
    ]
    for name, divisor, unit, function in rows:
        cells = []
        for contender in CONTENDERS:
            values = [v / divisor for v in results[contender].get(name, [])]
            if not values:
                cells.append("")
            elif function is None:
                cells.append(f"{mean(values):.1f} / {statistics.median(values):.1f}{unit}")
            elif function is max:
                cells.append(f"{max(values):.0f}{unit}")
            else:
                cells.append(f"{function(values):.1f}{unit}")
        if any(cells):
            print(f"| {name}{', mean / median' if function is None else ''} | " + " | ".join(cells) + " |")


main()
