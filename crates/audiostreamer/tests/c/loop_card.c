/* A sound card without hardware, for ALSA: what is played on it is what it captures, to the frame.
 *
 * It lives in a file that all programs map: whether it is plugged in, and a ring of frames, each with
 * its number. The numbers are the monotonic clock's, 48000 a second, so that all who have the card
 * open move at one pace. A frame that nobody has played in time is silent.
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define RATE 48000
#define CHANNELS 2
#define RING 65536

typedef struct {
    int64_t number;
    float samples[CHANNELS];
} frame_t;

typedef struct {
    int64_t is_plugged;
    frame_t ring[RING];
} card_t;

typedef struct {
    snd_pcm_ioplug_t io;
    card_t *card;
    int64_t start; /* the number of this stream's frame 0 */
    int64_t moved; /* frames between this stream and the program */
    float *early;  /* what is played before the stream has started */
} loop_t;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * RATE + (int64_t)t.tv_nsec * RATE / 1000000000;
}

static int plays(const loop_t *loop)
{
    return loop->io.stream == SND_PCM_STREAM_PLAYBACK;
}

static int runs(const loop_t *loop)
{
    return loop->io.state == SND_PCM_STATE_RUNNING;
}

static void play(loop_t *loop, int64_t frame, const float *samples)
{
    frame_t *place = &loop->card->ring[(loop->start + frame) % RING];
    memcpy(place->samples, samples, sizeof place->samples);
    __atomic_store_n(&place->number, loop->start + frame, __ATOMIC_RELEASE);
}

static void capture(loop_t *loop, int64_t frame, float *samples)
{
    const frame_t *place = &loop->card->ring[(loop->start + frame) % RING];
    if (__atomic_load_n(&place->number, __ATOMIC_ACQUIRE) == loop->start + frame)
        memcpy(samples, place->samples, sizeof place->samples);
    else
        memset(samples, 0, sizeof place->samples);
}

static int on_start(snd_pcm_ioplug_t *io)
{
    loop_t *loop = io->private_data;
    long nanos = (long)(io->period_size * 1000000000ull / RATE);
    struct itimerspec period = {{0, nanos}, {0, nanos}};
    loop->start = now();
    for (int64_t frame = 0; plays(loop) && frame < loop->moved; frame++)
        play(loop, frame, loop->early + frame * CHANNELS);
    return timerfd_settime(io->poll_fd, 0, &period, NULL) < 0 ? -errno : 0;
}

static int on_stop(snd_pcm_ioplug_t *io)
{
    struct itimerspec never = {{0, 0}, {0, 0}};
    return timerfd_settime(io->poll_fd, 0, &never, NULL) < 0 ? -errno : 0;
}

static snd_pcm_sframes_t on_pointer(snd_pcm_ioplug_t *io)
{
    loop_t *loop = io->private_data;
    if (!loop->card->is_plugged) {
        snd_pcm_ioplug_set_state(io, SND_PCM_STATE_DISCONNECTED);
        return -ENODEV;
    }
    if (!runs(loop))
        return 0;
    int64_t at = now() - loop->start;
    int64_t waiting = plays(loop) ? loop->moved - at : at - loop->moved;
    if (waiting < 0 || waiting > (int64_t)io->buffer_size)
        return -EPIPE;
    return at % io->buffer_size;
}

static snd_pcm_sframes_t on_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                     snd_pcm_uframes_t offset, snd_pcm_uframes_t size)
{
    loop_t *loop = io->private_data;
    float *samples = (float *)((char *)areas->addr + areas->first / 8) + offset * CHANNELS;
    for (snd_pcm_uframes_t n = 0; n < size; n++, loop->moved++, samples += CHANNELS) {
        if (!plays(loop))
            capture(loop, loop->moved, samples);
        else if (runs(loop))
            play(loop, loop->moved, samples);
        else
            memcpy(loop->early + loop->moved * CHANNELS, samples, CHANNELS * sizeof *samples);
    }
    return size;
}

static int on_prepare(snd_pcm_ioplug_t *io)
{
    loop_t *loop = io->private_data;
    if (!loop->card->is_plugged)
        return -ENODEV;
    loop->moved = 0;
    free(loop->early);
    loop->early = calloc(io->buffer_size, CHANNELS * sizeof *loop->early);
    return loop->early ? 0 : -ENOMEM;
}

static int on_poll(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned count, unsigned short *events)
{
    loop_t *loop = io->private_data;
    uint64_t ticks;
    (void)!read(fds->fd, &ticks, sizeof ticks);
    if (snd_pcm_avail_update(io->pcm) < 0)
        *events = POLLERR;
    else
        *events = plays(loop) ? POLLOUT : POLLIN;
    return 0;
}

static int on_close(snd_pcm_ioplug_t *io)
{
    loop_t *loop = io->private_data;
    close(io->poll_fd);
    munmap(loop->card, sizeof *loop->card);
    free(loop->early);
    free(loop);
    return 0;
}

static const snd_pcm_ioplug_callback_t callbacks = {
    .start = on_start,
    .stop = on_stop,
    .pointer = on_pointer,
    .transfer = on_transfer,
    .prepare = on_prepare,
    .poll_revents = on_poll,
    .close = on_close,
};

static int constrain(snd_pcm_ioplug_t *io)
{
    unsigned accesses[] = {SND_PCM_ACCESS_RW_INTERLEAVED}, formats[] = {SND_PCM_FORMAT_FLOAT_LE};
    int error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, accesses);
    error = error ? error : snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, formats);
    error = error ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, CHANNELS, CHANNELS);
    error = error ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, RATE, RATE);
    error = error ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 256, 65536);
    return error ? error : snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 64);
}

/* NULL where no card is plugged in. */
static card_t *map(const char *path)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return NULL;
    card_t *card = mmap(NULL, sizeof *card, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (card == MAP_FAILED || card->is_plugged)
        return card == MAP_FAILED ? NULL : card;
    munmap(card, sizeof *card);
    return NULL;
}

SND_PCM_PLUGIN_DEFINE_FUNC(loop_card)
{
    const char *path = NULL;
    snd_config_iterator_t at, next;
    snd_config_for_each(at, next, conf) {
        const char *key;
        if (snd_config_get_id(snd_config_iterator_entry(at), &key) == 0 && strcmp(key, "file") == 0)
            snd_config_get_string(snd_config_iterator_entry(at), &path);
    }
    card_t *card = path ? map(path) : NULL;
    loop_t *loop = card ? calloc(1, sizeof *loop) : NULL;
    if (!loop) {
        if (card)
            munmap(card, sizeof *card);
        return -ENODEV;
    }
    loop->card = card;
    loop->io.version = SND_PCM_IOPLUG_VERSION;
    loop->io.name = "a card that hears itself";
    loop->io.callback = &callbacks;
    loop->io.private_data = loop;
    loop->io.poll_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    loop->io.poll_events = POLLIN;
    int error = snd_pcm_ioplug_create(&loop->io, name, stream, mode);
    if (error == 0)
        error = constrain(&loop->io);
    *pcmp = loop->io.pcm;
    return error;
}

SND_PCM_PLUGIN_SYMBOL(loop_card);
