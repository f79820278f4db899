#include "tools/progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tools/text.h"

#define LIVE_EVERY  0.1
#define PLAIN_EVERY 10.0
#define RATE_AFTER  0.5 /* seconds before a rate means anything */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

void progress_init(struct progress *p, FILE *out, const struct cli_common *options)
{
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    p->out = out;
    const char *term = getenv("TERM");
    p->live = isatty(fileno(out)) && term && strcmp(term, "dumb") != 0;
    p->shown =
        options->progress == CLI_ALWAYS || (options->progress == CLI_AUTO && !options->quiet);
    p->t_said = now();
}

static void erase(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", p->out);
    p->drawn = false;
}

void progress_clear(struct progress *p)
{
    pthread_mutex_lock(&p->lock);
    erase(p);
    fflush(p->out);
    pthread_mutex_unlock(&p->lock);
}

void progress_finish(struct progress *p)
{
    progress_clear(p);
    pthread_mutex_destroy(&p->lock);
}

/* "1.2/3.3 GB", "37/120 prompts" */
static size_t format_amount(char *buf, size_t size, const struct uqm_progress *r)
{
    if (strcmp(r->unit, "bytes") == 0) {
        char done[32], total[32];
        text_bytes(done, sizeof done, r->done);
        text_bytes(total, sizeof total, r->total);
        return text_append(buf, size, 0, r->total ? "%s of %s" : "%s", done, total);
    }
    if (r->total)
        return text_append(buf, size, 0, "%llu/%llu %s", (unsigned long long) r->done,
                           (unsigned long long) r->total, r->unit);
    return text_append(buf, size, 0, "%llu %s", (unsigned long long) r->done, r->unit);
}

static size_t format_rate(char *buf, size_t size, size_t at, const struct uqm_progress *r,
                          double rate)
{
    if (strcmp(r->unit, "bytes") == 0) {
        char text[32];
        text_bytes(text, sizeof text, (uint64_t) rate);
        return text_append(buf, size, at, "  %s/s", text);
    }
    return text_append(buf, size, at, rate < 10.0 ? "  %.2f %s/s" : "  %.0f %s/s", rate, r->unit);
}

size_t progress_format(char *buf, size_t size, const struct uqm_progress *r, uint64_t first,
                       double elapsed)
{
    size_t n = text_append(buf, size, 0, "%s", r->stage);
    if (r->total) {
        /* Never 100 % before the end. */
        double share = r->done >= r->total ? 1.0 : (double) r->done / (double) r->total;
        n = text_append(buf, size, n, "  %3d%%", (int) (100.0 * share));
    }
    char amount[96];
    format_amount(amount, sizeof amount, r);
    n = text_append(buf, size, n, "  %s", amount);
    if (elapsed < RATE_AFTER || r->done <= first)
        return n;

    double rate = (double) (r->done - first) / elapsed;
    n = format_rate(buf, size, n, r, rate);
    if (r->total > r->done) {
        char left[32];
        text_seconds(left, sizeof left, (double) (r->total - r->done) / rate);
        n = text_append(buf, size, n, "  %s left", left);
    }
    return n;
}

static size_t width(const struct progress *p)
{
    struct winsize w;
    if (ioctl(fileno(p->out), TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
        return (size_t) w.ws_col - 1;
    return 79;
}

/* The bytes of the first `room` characters; a character is never cut. */
static size_t cut(const char *s, size_t room)
{
    size_t n = 0;
    for (; s[n]; n++) {
        const bool starts = ((unsigned char) s[n] & 0xc0) != 0x80;
        if (starts && room-- == 0)
            break;
    }
    return n;
}

static void draw(struct progress *p, const struct uqm_progress *r, double t)
{
    char line[400];
    progress_format(line, sizeof line, r, p->done_first, t - p->t_stage);
    /* A stage may name a model. */
    char *text = text_printable(line);
    if (!text)
        return;
    if (p->live) {
        fprintf(p->out, "\r%.*s\033[K", (int) cut(text, width(p)), text);
        p->drawn = true;
    } else {
        fprintf(p->out, "%s\n", text);
    }
    fflush(p->out);
    free(text);
}

void progress_report(struct progress *p, const struct uqm_progress *r)
{
    if (!p->shown)
        return;
    pthread_mutex_lock(&p->lock);
    double t = now();
    bool new_stage = strncmp(p->stage, r->stage, sizeof p->stage - 1) != 0;
    if (new_stage) {
        snprintf(p->stage, sizeof p->stage, "%s", r->stage);
        p->t_stage = t;
        p->done_first = r->done;
    }
    if (t - p->t_said >= (p->live ? LIVE_EVERY : PLAIN_EVERY) || (p->live && new_stage)) {
        p->t_said = t;
        draw(p, r, t);
    }
    pthread_mutex_unlock(&p->lock);
}

void progress_say(struct progress *p, const char *prefix, const char *line)
{
    pthread_mutex_lock(&p->lock);
    erase(p);
    fputs(prefix, p->out);
    text_print(p->out, line);
    fputc('\n', p->out);
    fflush(p->out);
    pthread_mutex_unlock(&p->lock);
}
