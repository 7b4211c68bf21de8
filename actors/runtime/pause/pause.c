/* pause: the process that holds the namespaces of a pod.
 *
 * It takes the pod's host name (if its UTS namespace is its own), brings the loopback up, and then
 * waits for ever: as number 1 of a shared PID namespace it inherits orphans and reaps them. SIGTERM
 * and SIGINT end it, and with it the namespaces that nobody else is in.
 *
 *     pause [HOSTNAME]
 */
#define _GNU_SOURCE
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void loopback_up(void) {
    struct ifreq request;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        return;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}

int main(int argc, char **argv) {
    sigset_t set;
    int number;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (argc > 1)
        (void)!sethostname(argv[1], strlen(argv[1]));
    loopback_up();
    for (;;) {
        if (sigwait(&set, &number) != 0)
            continue;
        if (number != SIGCHLD)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
    }
}
