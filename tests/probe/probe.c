/* Makes the calls of its arguments, `NUMBER,ARGUMENT,...` each, and prints what they return. A
   handler of SIGUSR1 is there so that the signal interrupts and does not end it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
static void ignore(int signal) { (void)signal; }
int main(int argc, char **argv) {
    struct sigaction action = { .sa_handler = ignore };
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 1; i < argc; i++) {
        unsigned long word[7] = {0};
        char *at = argv[i];
        for (int n = 0; n < 7 && *at; n++) {
            word[n] = strtoul(at, &at, 0);
            if (*at == ',') at++;
        }
        long answer = syscall(word[0], word[1], word[2], word[3], word[4], word[5], word[6]);
        printf("%ld\n", answer == -1 ? -(long)errno : answer);
        fflush(stdout);
    }
}
