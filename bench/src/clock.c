/* A monotonic clock that runs faster or slower, for one process and what it starts: for LD_PRELOAD.
 *
 * JACK's dummy driver is a sound card that keeps time by clock_gettime and usleep. With this in
 * front of them its card is faster by CLOCK_PPM; with it in front of the card's clients, too, they
 * live on a machine whose clock is off, as every machine's is. With CLOCK_SLOW, all of it happens so
 * many times slower. All of them count from the same moment, CLOCK_BASE_NS on the true clock, so
 * that they agree with each other. And it stands still for as long as the number in the file
 * CLOCK_STOLEN says: true nanoseconds for which a hypervisor took the processor away. For the same
 * reason, that what else the machine does is not measured, real-time priority is at least CLOCK_PRIORITY.
 *
 * What waits for a moment of this clock is converted, and what waits so long: sleeping, by which
 * the card lives, and the timeouts of poll, epoll, select and futexes. What the kernel does by
 * itself (TCP's timers, a socket's SO_RCVTIMEO) keeps true time, and so does the wall clock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <dlfcn.h>

#define SECOND 1000000000LL

/* Nanoseconds of this clock in `span` true ones, both from `base` on. */
static int64_t shown, span, base;
static const volatile int64_t nothing, *stolen = &nothing;
static int priority;
static int (*true_setscheduler)(pid_t, int, const struct sched_param *);
static int (*true_gettime)(clockid_t, struct timespec *);
static int (*true_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
static long (*true_syscall)(long, ...);
static int (*true_cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
static int (*true_ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
static int (*true_epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
static int (*true_epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *);
static int (*true_pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
static int (*true_sem_clockwait)(sem_t *, clockid_t, const struct timespec *);

/* Also called before main by whoever is first: another library's constructor may ask the time. */
__attribute__((constructor)) static void find(void)
{
    if (true_sem_clockwait)
        return;
    const char *ppm = getenv("CLOCK_PPM"), *slow = getenv("CLOCK_SLOW"), *since = getenv("CLOCK_BASE_NS");
    shown = SECOND + (ppm ? (int64_t)(atof(ppm) * 1000) : 0);
    span = (int64_t)(SECOND * (slow ? atof(slow) : 1.0));
    base = since ? atoll(since) : 0;
    const char *least = getenv("CLOCK_PRIORITY");
    priority = least ? atoi(least) : 0;
    true_setscheduler = dlsym(RTLD_NEXT, "sched_setscheduler");
    const char *file = getenv("CLOCK_STOLEN");
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *stolen, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        stolen = mapped;
    if (fd >= 0)
        close(fd);
    true_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    true_nanosleep = dlsym(RTLD_NEXT, "clock_nanosleep");
    true_syscall = dlsym(RTLD_NEXT, "syscall");
    true_cond_clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    true_ppoll = dlsym(RTLD_NEXT, "ppoll");
    true_epoll_pwait = dlsym(RTLD_NEXT, "epoll_pwait");
    true_epoll_pwait2 = dlsym(RTLD_NEXT, "epoll_pwait2");
    true_pselect = dlsym(RTLD_NEXT, "pselect");
    true_sem_clockwait = dlsym(RTLD_NEXT, "sem_clockwait");
}

static int64_t nanos(const struct timespec *time)
{
    return time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec timespec(int64_t nanos)
{
    return (struct timespec){ nanos / SECOND, nanos % SECOND };
}

static int64_t scaled(int64_t nanos, int64_t by, int64_t of)
{
    return (int64_t)((__int128)nanos * by / of);
}

/* As this clock shows it. */
static int64_t longer(int64_t nanos)
{
    return scaled(nanos, shown, span);
}

/* As it truly is. */
static int64_t shorter(int64_t nanos)
{
    return scaled(nanos, span, shown);
}

/* Never less than what was asked for. */
static int true_millis(int millis)
{
    if (millis <= 0)
        return millis;
    int64_t nanos = shorter(millis * 1000000LL);
    return nanos < INT_MAX * 1000000LL ? (int)((nanos + 999999) / 1000000) : INT_MAX;
}

/* When the true clock will show what ours shows as `moment`. */
static struct timespec true_moment(const struct timespec *moment)
{
    return timespec(base + shorter(nanos(moment) - base) + *stolen);
}

static int is_ours(clockid_t clock)
{
    return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_MONOTONIC_COARSE ||
           clock == CLOCK_BOOTTIME;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    find();
    int result = true_gettime(clock, now);
    if (result == 0 && is_ours(clock))
        *now = timespec(base + longer(nanos(now) - *stolen - base));
    return result;
}

/* Like the original, returns the error rather than setting errno. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    find();
    if (!is_ours(clock) && (flags & TIMER_ABSTIME))
        return true_nanosleep(clock, flags, wanted, left);
    struct timespec now;
    clock_gettime(clock, &now);
    int64_t until = nanos(wanted) + (flags & TIMER_ABSTIME ? 0 : nanos(&now));
    struct timespec moment = timespec(until);
    int error = 0;
    /* Again, where the clock stood still meanwhile. */
    while (!error && nanos(&now) < until) {
        struct timespec truly = true_moment(&moment);
        error = true_nanosleep(clock, TIMER_ABSTIME, &truly, NULL);
        clock_gettime(clock, &now);
    }
    if (error == EINTR && left && !(flags & TIMER_ABSTIME))
        *left = timespec(until > nanos(&now) ? until - nanos(&now) : 0);
    return error;
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    int error = clock_nanosleep(CLOCK_MONOTONIC, 0, wanted, left);
    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

int usleep(useconds_t micros)
{
    struct timespec wanted = timespec(micros * 1000LL);
    return nanosleep(&wanted, NULL);
}

int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until)
{
    find();
    struct timespec moment = is_ours(clock) ? true_moment(until) : *until;
    return true_cond_clockwait(cond, mutex, clock, &moment);
}

int sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
    find();
    struct timespec moment = is_ours(clock) ? true_moment(until) : *until;
    return true_sem_clockwait(sem, clock, &moment);
}

int sched_setscheduler(pid_t thread, int policy, const struct sched_param *wanted)
{
    find();
    struct sched_param given = *wanted;
    if (given.sched_priority > 0 && given.sched_priority < priority)
        given.sched_priority = priority;
    return true_setscheduler(thread, policy, &given);
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *wait, const sigset_t *mask)
{
    find();
    struct timespec truly = wait ? timespec(shorter(nanos(wait))) : (struct timespec){ 0 };
    return true_ppoll(fds, count, wait ? &truly : NULL, mask);
}

int poll(struct pollfd *fds, nfds_t count, int millis)
{
    struct timespec wait = timespec(millis * 1000000LL);
    return ppoll(fds, count, millis < 0 ? NULL : &wait, NULL);
}

int epoll_pwait(int epoll, struct epoll_event *events, int most, int millis, const sigset_t *mask)
{
    find();
    return true_epoll_pwait(epoll, events, most, true_millis(millis), mask);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int millis)
{
    return epoll_pwait(epoll, events, most, millis, NULL);
}

int epoll_pwait2(int epoll, struct epoll_event *events, int most, const struct timespec *wait, const sigset_t *mask)
{
    find();
    struct timespec truly = wait ? timespec(shorter(nanos(wait))) : (struct timespec){ 0 };
    return true_epoll_pwait2(epoll, events, most, wait ? &truly : NULL, mask);
}

int pselect(int count, fd_set *in, fd_set *out, fd_set *other, const struct timespec *wait, const sigset_t *mask)
{
    find();
    struct timespec truly = wait ? timespec(shorter(nanos(wait))) : (struct timespec){ 0 };
    return true_pselect(count, in, out, other, wait ? &truly : NULL, mask);
}

int select(int count, fd_set *in, fd_set *out, fd_set *other, struct timeval *wait)
{
    struct timespec truly = wait ? timespec(wait->tv_sec * SECOND + wait->tv_usec * 1000LL) : (struct timespec){ 0 };
    return pselect(count, in, out, other, wait ? &truly : NULL, NULL);
}

/* Rust's standard library parks a thread by this call, until a moment of the monotonic clock; JACK
 * and GLib wait by it, for so long. */
long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    find();
    struct timespec moment;
    long operation = a[1] & FUTEX_CMD_MASK;
    const struct timespec *wait = (const struct timespec *)a[3];
    if (number == SYS_futex && wait && operation == FUTEX_WAIT) {
        moment = timespec(shorter(nanos(wait)));
        a[3] = (long)&moment;
    } else if (number == SYS_futex && wait && operation == FUTEX_WAIT_BITSET && !(a[1] & FUTEX_CLOCK_REALTIME)) {
        moment = true_moment(wait);
        a[3] = (long)&moment;
    }
    return true_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
