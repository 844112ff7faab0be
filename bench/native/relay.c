/* relay PORT ONE_WAY_MICROSECONDS
 *
 * Listens on a free loopback port, prints it, and carries TCP connections to PORT on loopback, each byte later by the
 * given time in each direction. Stands in for netem, which not every kernel has. Delay only: bandwidth is not limited
 * and nothing is lost. Opening a connection costs a round trip, as on a real path. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 512, CHUNK = 64 << 10, EVENTS = 128 };
/* What an event is about: the listening socket, the clock, or 2 * connection + side. */
enum { LISTENING, CLOCK, FIRST_TAG };
/* In flight in one direction of one connection: far above bandwidth times delay, so that only memory is bounded. */
static const size_t BOUND = 32 << 20;

struct chunk {
    struct chunk *next;
    int64_t due; /* nanoseconds */
    size_t from, to;
    char bytes[];
};

/* One direction of one connection: what was read from `in` waits here until it may be written to `out`. */
struct lane {
    int in, out;
    struct chunk *first, *last;
    size_t held;
    int64_t not_before; /* the far end cannot have accepted earlier */
    int64_t end_due;    /* when the end of the stream arrives; 0: not seen yet */
    int readable, ended, blocked;
};

struct connection {
    int used;
    struct lane lane[2];
};

static struct connection connections[CONNECTIONS];
static int64_t delay;
static int poller;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch(int fd, uint64_t tag, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = tag};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static void close_connection(struct connection *c) {
    for (int i = 0; i < 2; i++) {
        for (struct chunk *chunk = c->lane[i].first; chunk;) {
            struct chunk *next = chunk->next;
            free(chunk);
            chunk = next;
        }
        close(c->lane[i].in);
    }
    c->used = 0;
}

/* Reads all there is, within the bound. -1 where the connection broke. */
static int take(struct lane *lane) {
    while (lane->readable && !lane->end_due && lane->held < BOUND) {
        static char arrived[CHUNK];
        ssize_t got = recv(lane->in, arrived, sizeof arrived, 0);
        if (got <= 0) {
            if (got < 0 && errno == EAGAIN)
                lane->readable = 0;
            else if (got < 0 && errno != EINTR)
                return -1;
            else if (got == 0)
                lane->end_due = now() + delay;
            continue;
        }
        struct chunk *chunk = malloc(sizeof *chunk + got);
        if (!chunk)
            fail("malloc");
        int64_t due = now() + delay;
        *chunk = (struct chunk){.due = due < lane->not_before ? lane->not_before : due, .to = got};
        memcpy(chunk->bytes, arrived, got);
        if (lane->last)
            lane->last->next = chunk;
        else
            lane->first = chunk;
        lane->last = chunk;
        lane->held += got;
    }
    return 0;
}

/* Writes what is due. -1 where the connection broke. */
static int give(struct lane *lane, int64_t time) {
    while (lane->first && lane->first->due <= time && !lane->blocked) {
        struct chunk *chunk = lane->first;
        ssize_t sent = send(lane->out, chunk->bytes + chunk->from, chunk->to - chunk->from, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            lane->blocked = 1;
        else if (sent < 0 && errno != EINTR)
            return -1;
        if (sent <= 0)
            continue;
        chunk->from += sent;
        lane->held -= sent;
        if (chunk->from == chunk->to) {
            lane->first = chunk->next;
            if (!lane->first)
                lane->last = NULL;
            free(chunk);
        }
    }
    if (lane->end_due && lane->end_due <= time && !lane->first && !lane->ended) {
        lane->ended = 1;
        shutdown(lane->out, SHUT_WR);
    }
    return 0;
}

/* When this lane has something to do next; 0 for when its sockets say so. */
static int64_t next_due(const struct lane *lane) {
    if (lane->blocked || lane->ended)
        return 0;
    return lane->first ? lane->first->due : lane->end_due;
}

static void accept_all(int listening, int port) {
    for (;;) {
        int near = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
        if (near < 0)
            return;
        struct connection *c = connections;
        while (c < connections + CONNECTIONS && c->used)
            c++;
        int far = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in address = loopback(port);
        if (c == connections + CONNECTIONS || far < 0 || connect(far, (struct sockaddr *)&address, sizeof address) < 0) {
            close(near);
            if (far >= 0)
                close(far);
            continue;
        }
        int flags = 1;
        setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &flags, sizeof flags);
        setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &flags, sizeof flags);
        *c = (struct connection){.used = 1};
        c->lane[0] = (struct lane){.in = near, .out = far, .not_before = now() + 3 * delay};
        c->lane[1] = (struct lane){.in = far, .out = near};
        /* Connecting was left to block: the far end is on loopback too, and listens. */
        if (fcntl(far, F_SETFL, O_NONBLOCK) < 0)
            fail("fcntl");
        uint64_t tag = (uint64_t)(c - connections) * 2 + FIRST_TAG;
        watch(near, tag, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        watch(far, tag + 1, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
}

/* Each side reads into its own lane and writes for the other's. */
static void note(uint64_t tag, uint32_t events) {
    struct connection *c = &connections[(tag - FIRST_TAG) / 2];
    int side = (tag - FIRST_TAG) % 2;
    if (!c->used)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->lane[side].readable = 1;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        c->lane[!side].blocked = 0;
}

/* Moves what can be moved; the time of the next step, or 0. */
static int64_t work(struct connection *c) {
    int64_t next = 0;
    for (int i = 0; i < 2; i++) {
        struct lane *lane = &c->lane[i];
        /* Twice, as giving makes room for what was left unread for the bound. */
        if (take(lane) < 0 || give(lane, now()) < 0 || take(lane) < 0) {
            close_connection(c);
            return 0;
        }
        int64_t due = next_due(lane);
        if (due && (!next || due < next))
            next = due;
    }
    if (c->lane[0].ended && c->lane[1].ended)
        close_connection(c);
    return next;
}

static void set_clock(int clock, int64_t due) {
    struct itimerspec when = {.it_value = {.tv_sec = due / 1000000000LL, .tv_nsec = due % 1000000000LL}};
    if (timerfd_settime(clock, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        fail("timerfd_settime");
}

static int listen_on_loopback(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 256) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        fail("listening");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: relay PORT ONE_WAY_MICROSECONDS\n");
        return 2;
    }
    delay = atoll(argv[2]) * 1000;
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    int clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), listening = listen_on_loopback();
    watch(listening, LISTENING, EPOLLIN);
    watch(clock, CLOCK, EPOLLIN | EPOLLET);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(poller, events, EVENTS, -1);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == LISTENING)
                accept_all(listening, atoi(argv[1]));
            else if (events[i].data.u64 != CLOCK)
                note(events[i].data.u64, events[i].events);
        }
        int64_t next = 0;
        for (struct connection *c = connections; c < connections + CONNECTIONS; c++) {
            int64_t due = c->used ? work(c) : 0;
            if (due && (!next || due < next))
                next = due;
        }
        set_clock(clock, next);
    }
}
