/* A monotonic clock that runs faster, for one process and what it starts: for LD_PRELOAD.
 *
 * JACK's dummy driver is a sound card that keeps time by clock_gettime and usleep. With this in
 * front of them its card is faster by SKEW_PPM; with it in front of the card's clients, too, they
 * live on a machine whose clock is off, as every machine's is. All of them count from the same
 * moment, SKEW_BASE_NS on the true clock, so that they agree with each other.
 *
 * Only what waits for a moment of this clock is converted, and sleeping, by which the card lives.
 * Timeouts of poll, epoll and the like are relative and in milliseconds: 100 ppm are nothing there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <dlfcn.h>

#define SECOND 1000000000LL

static int64_t ppb, base;
static int (*true_gettime)(clockid_t, struct timespec *);
static int (*true_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
static long (*true_syscall)(long, ...);
static int (*true_cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
static int (*true_sem_clockwait)(sem_t *, clockid_t, const struct timespec *);

/* Also called before main by whoever is first: another library's constructor may ask the time. */
__attribute__((constructor)) static void find(void)
{
    if (true_sem_clockwait)
        return;
    const char *ppm = getenv("SKEW_PPM"), *since = getenv("SKEW_BASE_NS");
    ppb = ppm ? (int64_t)(atof(ppm) * 1000) : 0;
    base = since ? atoll(since) : 0;
    true_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    true_nanosleep = dlsym(RTLD_NEXT, "clock_nanosleep");
    true_syscall = dlsym(RTLD_NEXT, "syscall");
    true_cond_clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
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

static int64_t longer(int64_t nanos)
{
    return scaled(nanos, SECOND + ppb, SECOND);
}

static int64_t shorter(int64_t nanos)
{
    return scaled(nanos, SECOND, SECOND + ppb);
}

/* When the true clock will show what ours shows as `moment`. */
static struct timespec true_moment(const struct timespec *moment)
{
    return timespec(base + shorter(nanos(moment) - base));
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
        *now = timespec(base + longer(nanos(now) - base));
    return result;
}

/* Like the original, returns the error rather than setting errno. */
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    find();
    if (!is_ours(clock) && (flags & TIMER_ABSTIME))
        return true_nanosleep(clock, flags, wanted, left);
    struct timespec sleep = flags & TIMER_ABSTIME ? true_moment(wanted) : timespec(shorter(nanos(wanted)));
    int error = true_nanosleep(clock, flags, &sleep, left);
    if (error == EINTR && left && !(flags & TIMER_ABSTIME))
        *left = timespec(longer(nanos(left)));
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

/* Rust's standard library parks a thread by this call, until a moment of the monotonic clock. */
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
    if (number == SYS_futex && operation == FUTEX_WAIT_BITSET && a[3] && !(a[1] & FUTEX_CLOCK_REALTIME)) {
        moment = true_moment((const struct timespec *)a[3]);
        a[3] = (long)&moment;
    }
    return true_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
