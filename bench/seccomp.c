/* seccomp: for no filter and for each program in a file: microseconds of seccomp(2), and
 * nanoseconds of getppid, of a read of one byte and of personality(0xffffffff), whose answer depends
 * on an argument. Tenth percentiles of child processes that take turns, so that all see the same
 * disturbances. See bench/seccomp. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 101, CALLS = 20000, FIGURES = 4, MOST = 8 };

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double per_call(int which, int zero) {
	char byte;
	double start = now();
	for (int i = 0; i < CALLS; i++) {
		if (which == 0)
			syscall(SYS_getppid);
		else if (which == 1)
			syscall(SYS_read, zero, &byte, 1);
		else
			syscall(SYS_personality, 0xffffffff);
	}
	return (now() - start) / CALLS;
}

static void measure(struct sock_fprog *program, double *figures) {
	int zero = open("/dev/zero", O_RDONLY);
	if (program->len) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
			_exit(1);
		double start = now();
		if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, program))
			_exit(2);
		figures[0] = (now() - start) / 1e3;
	}
	for (int which = 0; which < 3; which++)
		figures[which + 1] = per_call(which, zero);
	_exit(0);
}

int main(int argc, char **argv) {
	static double all[MOST][FIGURES][ROUNDS];
	static struct sock_filter filters[MOST][4096];
	struct sock_fprog programs[MOST] = {{0, filters[0]}};
	double *figures = mmap(NULL, sizeof(double[FIGURES]), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (argc > MOST)
		return 1;
	for (int file = 1; file < argc; file++) {
		FILE *from = fopen(argv[file], "r");
		if (!from)
			return perror(argv[file]), 1;
		programs[file].filter = filters[file];
		programs[file].len = fread(filters[file], sizeof **filters, 4096, from);
		fclose(from);
	}
	for (int round = 0; round < ROUNDS; round++)
		for (int file = 0; file < argc; file++) {
			int status;
			pid_t child = fork();
			if (!child)
				measure(&programs[file], figures);
			if (waitpid(child, &status, 0) < 0 || status)
				return fprintf(stderr, "%s: status %#x\n", argv[file], status), 1;
			for (int of = 0; of < FIGURES; of++)
				all[file][of][round] = figures[of];
			figures[0] = 0;
		}
	for (int file = 0; file < argc; file++)
		for (int of = 0; of < FIGURES; of++) {
			qsort(all[file][of], ROUNDS, sizeof(double), ascending);
			printf("%.0f%c", all[file][of][ROUNDS / 10], of == FIGURES - 1 ? '\n' : ' ');
		}
}
