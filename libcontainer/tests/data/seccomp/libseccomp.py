#!/usr/bin/env python3
"""Answers requests of tests/seccomp/libseccomp.rs with what Debian's libseccomp.so.2 says.

One JSON object a line on standard input, one a line on standard output:
  {"resolve": [NAME...], "architectures": [SCMP_ARCH...]}
      -> {"architecture": {"name": number or null if unknown, negative if lacking}, ...},
         without the architectures that this libseccomp does not know
  {"profile": PROFILE, "native": SCMP_ARCH, "optimize": 1 or 2}
      -> {"program": HEX} or {"error": ERRNO}
A profile on which libseccomp computes for more than 2 seconds of processor time ends this script by
SIGVTALRM: some it never finishes.
The rules are added in the manner of runc: one call of the library for each name, rules with the
default action left out, and several conditions on one argument as a rule each.
"""

import ctypes
import json
import os
import signal
import sys

try:
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
except OSError as error:
    sys.exit(f"libseccomp.py: {error}: install Debian's package libseccomp2")

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
OPERATORS = ["SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ"]
UNKNOWN_NAME = -1
CTL_OPTIMIZE = 8


class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
lib.seccomp_release.argtypes = [ctypes.c_void_p]
lib.seccomp_arch_resolve_name.restype = ctypes.c_uint32
lib.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
lib.seccomp_arch_native.restype = ctypes.c_uint32
for call in (lib.seccomp_arch_add, lib.seccomp_arch_remove):
    call.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
lib.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
lib.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]


class Refused(Exception):
    pass


def check(answer):
    if answer < 0:
        raise Refused(-answer)


def architecture(name):
    return lib.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())


def resolve(names, architectures):
    answer = {}
    for arch in architectures:
        if token := architecture(arch):
            numbers = {name: lib.seccomp_syscall_resolve_name_arch(token, name.encode()) for name in names}
            answer[arch] = {name: None if number == UNKNOWN_NAME else number for name, number in numbers.items()}
    return answer


def action(name, data):
    word = ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        word |= (1 if data is None else data) & 0xFFFF
    return word


def compile_profile(profile, native, optimize):
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    filter = lib.seccomp_init(default)
    try:
        if architecture(native) != lib.seccomp_arch_native():
            check(lib.seccomp_arch_remove(filter, lib.seccomp_arch_native()))
            check(lib.seccomp_arch_add(filter, architecture(native)))
        for arch in profile.get("architectures") or []:
            answer = lib.seccomp_arch_add(filter, architecture(arch))
            if answer != -17:
                check(answer)
        check(lib.seccomp_attr_set(filter, CTL_OPTIMIZE, optimize))
        for rule in profile.get("syscalls") or []:
            for name in rule["names"]:
                add(filter, rule, name, default)
        memory = os.memfd_create("program")
        try:
            check(lib.seccomp_export_bpf(filter, memory))
            os.lseek(memory, 0, os.SEEK_SET)
            return os.read(memory, 1 << 22).hex()
        finally:
            os.close(memory)
    finally:
        lib.seccomp_release(filter)


def add(filter, rule, name, default):
    word = action(rule["action"], rule.get("errnoRet"))
    number = lib.seccomp_syscall_resolve_name_arch(0, name.encode())
    if word == default or number == UNKNOWN_NAME:
        return
    conditions = [
        Comparison(of["index"], OPERATORS.index(of["op"]) + 1, of.get("value", 0), of.get("valueTwo", 0))
        for of in rule.get("args") or []
    ]
    arguments = [of.arg for of in conditions]
    alone = len(set(arguments)) != len(arguments)
    for group in [[of] for of in conditions] if alone else [conditions]:
        array = (Comparison * len(group))(*group)
        check(lib.seccomp_rule_add_array(filter, word, number, len(group), array))


def main():
    for line in sys.stdin:
        request = json.loads(line)
        if "resolve" in request:
            answer = resolve(request["resolve"], request["architectures"])
        else:
            signal.setitimer(signal.ITIMER_VIRTUAL, 2)
            try:
                answer = {"program": compile_profile(request["profile"], request["native"], request["optimize"])}
            except Refused as refused:
                answer = {"error": refused.args[0]}
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
