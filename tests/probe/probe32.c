/* A 32-bit program without a library: its exit code is 0, or the number of the first check that
   fails. */
static long call(long number, long a, long b, long c) {
    long answer;
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return answer;
}
void _start(void) {
    long datagram[3] = {1, 2, 0}, vsock[3] = {40, 1, 0}, failed = 0;
    if (call(20, 0, 0, 0) <= 0) failed = 1;              /* getpid */
    else if (call(600, 0, 0, 0) != -38) failed = 2;      /* newer than the profile: ENOSYS */
    else if (call(435, 0, 0, 0) != -38) failed = 3;      /* clone3: ENOSYS */
    else if (call(283, 0, 0, 0) != -1) failed = 4;       /* kexec_load: EPERM */
    else if (call(102, 1, (long)datagram, 0) < 0) failed = 5; /* socketcall(SYS_SOCKET) */
    else if (call(359, vsock[0], vsock[1], vsock[2]) != -1) failed = 6; /* socket(AF_VSOCK) */
    else if (call(136, 0x1234, 0, 0) != -1) failed = 7;  /* personality */
    call(1, failed, 0, 0);
    for (;;) {}
}
