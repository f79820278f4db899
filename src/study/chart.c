#include "src/study/chart.h"

#include <math.h>
#include <string.h>

#include "src/base/utf8.h"

enum {
    WIDTH = 360,
    LABELS = 134, /* where they end */
    PLOT = 142,   /* where the plot begins ... */
    PLOT_END = 346,
    ROW = 20,
    TOP = 8,
    AXIS = 38, /* below the last row */
    /* What fits before LABELS at 11.5 units an em, and of letters in bold; what fits slanted above
     * a heat map at 11. */
    LABEL_WIDTH = 1130,
    STRONG_WIDTH = 990,
    HEAD_WIDTH = 720,
};

/* Of a character of `len` bytes in hundredths of an em, rather too much than too little: fonts
 * differ, and DejaVu Sans is a wide one. */
static size_t width_of(const char *c, size_t len, bool bold)
{
    enum { TINY, NARROW, USUAL, CAPITAL, WIDE, PICTURE };
    static const unsigned char widths[][2] = {
        [TINY] = { 32, 37 },    [NARROW] = { 42, 50 }, [USUAL] = { 64, 72 },
        [CAPITAL] = { 79, 86 }, [WIDE] = { 100, 111 }, [PICTURE] = { 130, 130 }
    };
    const int kind = len > 1                                 ? (len == 2   ? CAPITAL
                                                                : len == 3 ? WIDE
                                                                           : PICTURE)
                     : strchr("mwMW@%", *c)                  ? WIDE
                     : strchr(" .,:;'|!ijlI", *c)            ? TINY
                     : strchr("()[]{}-/\\frt", *c)           ? NARROW
                     : (*c >= 'A' && *c <= 'Z') || *c == '&' ? CAPITAL
                                                             : USUAL;
    return widths[kind][bold];
}

/* Bytes of the character at the front of a text. */
static size_t first_len(const char *text, size_t len)
{
    const size_t n = uqm_utf8_len((const uint8_t *) text, len);
    return n ? n : 1;
}

/* How many bytes from the front are at most `most` wide. */
static size_t bytes_within(const char *name, size_t len, size_t most, bool bold)
{
    size_t at = 0, w = 0;
    while (at < len) {
        const size_t n = first_len(name + at, len - at), more = width_of(name + at, n, bold);
        if (w + more > most)
            break;
        w += more;
        at += n;
    }
    return at;
}

const char *uqm_shorten(struct uqm_short_text *buf, const char *name, size_t most, bool bold)
{
    enum { ELLIPSIS = 100 };
    const size_t len = strlen(name), room = sizeof buf->text / 2 - 4;
    if (len < sizeof buf->text && bytes_within(name, len, most, bold) == len) {
        memcpy(buf->text, name, len + 1);
        return buf->text;
    }
    const size_t half = most > ELLIPSIS ? (most - ELLIPSIS) / 2 : 0;
    size_t head = bytes_within(name, len, half, bold), tail = len, w = 0;
    head = head < room ? head : 0;
    while (tail > head && len - tail < room) { /* the last characters, back from the end */
        size_t back = 1;
        while (back < 4 && back < tail - head && ((unsigned char) name[tail - back] & 0xc0) == 0x80)
            back++;
        w += width_of(name + tail - back, back, bold);
        if (w > half)
            break;
        tail -= back;
    }
    snprintf(buf->text, sizeof buf->text, "%.*s\u2026%s", (int) head, name, name + tail);
    return buf->text;
}

struct axis {
    double lo, hi, step;
};

/* 1, 2 or 5 times a power of ten, so that at most five steps span `range`. */
static double nice_step(double range)
{
    double p = pow(10, floor(log10(range / 5)));
    for (int k = 0; k < 2; k++, p *= 10)
        for (double m = 1; m < 10; m = m < 2 ? 2 : m < 5 ? 5 : 10)
            if (m * p * 5 >= range)
                return m * p;
    return p;
}

static bool has_rule(const struct uqm_row_chart *c)
{
    return c->rule_name && uqm_can_draw(c->rule);
}

static struct axis make_axis(const struct uqm_row_chart *c)
{
    double lo = (double) INFINITY, hi = -(double) INFINITY;
    for (size_t i = 0; i < c->n; i++) {
        double v = c->rows[i].value, e = c->rows[i].error;
        if (!uqm_can_draw(v))
            continue;
        e = c->error && uqm_can_draw(e) ? fabs(e) : 0;
        lo = v - e < lo ? v - e : lo;
        hi = v + e > hi ? v + e : hi;
    }
    if (has_rule(c)) {
        lo = c->rule < lo ? c->rule : lo;
        hi = c->rule > hi ? c->rule : hi;
    }
    if (c->bars || (lo > 0 && lo < 0.6 * hi))
        lo = lo < 0 ? lo : 0;
    if (!(hi - lo > 1e-12 * (fabs(hi) + fabs(lo)))) {
        lo -= fabs(lo) > 0 ? 0.1 * fabs(lo) : 0;
        hi += fabs(hi) > 0 ? 0.1 * fabs(hi) : 1;
    }
    struct axis a = { .step = nice_step(hi - lo) };
    a.lo = floor(lo / a.step + 1e-9) * a.step;
    a.hi = ceil(hi / a.step - 1e-9) * a.step;
    return a;
}

static double x_of(const struct axis *a, double v)
{
    return PLOT + (PLOT_END - PLOT) * ((v - a->lo) / (a->hi - a->lo));
}

static double y_of(size_t row)
{
    return TOP + ROW * ((double) row + 0.5);
}

static void line(struct uqm_html *h, const char *class_name, double x1, double y1, double x2,
                 double y2)
{
    uqm_html_open(h, "line");
    uqm_html_attr(h, "class", class_name);
    uqm_html_attrf(h, "x1", "%.1f", x1);
    uqm_html_attrf(h, "y1", "%.1f", y1);
    uqm_html_attrf(h, "x2", "%.1f", x2);
    uqm_html_attrf(h, "y2", "%.1f", y2);
    uqm_html_end(h);
}

static void text_at(struct uqm_html *h, const char *class_name, double x, double y,
                    const char *text)
{
    uqm_html_open(h, "text");
    uqm_html_attr(h, "class", class_name);
    uqm_html_attrf(h, "x", "%.1f", x);
    uqm_html_attrf(h, "y", "%.1f", y);
    uqm_html_text(h, text);
    uqm_html_close(h);
}

static void begin_figure(struct uqm_html *h, const char *title, int height, int width)
{
    uqm_html_open(h, "figure");
    if (width > WIDTH) /* scrolls rather than shrinks */
        uqm_html_attr(h, "class", "wide");
    uqm_html_element(h, "figcaption", NULL, title);
    uqm_html_open(h, "svg");
    if (width > WIDTH)
        uqm_html_attrf(h, "style", "min-width:%dpx;max-width:%dpx", width, width * 3 / 2);
    uqm_html_attr(h, "xmlns", "http://www.w3.org/2000/svg");
    uqm_html_attr(h, "role", "img");
    uqm_html_attrf(h, "viewBox", "0 0 %d %d", width, height);
    uqm_html_attrf(h, "aria-label", "%s (the table beside it has the numbers)", title);
    uqm_html_element(h, "title", NULL, title);
}

static void end_figure(struct uqm_html *h)
{
    uqm_html_close(h); /* svg */
    uqm_html_close(h); /* figure */
}

enum { CHARACTER = 6 }; /* about what one of a tick takes */

/* Long numbers stand at every second step, or third, ...: they may not run into each other. */
static int ticks_apart(const struct uqm_row_chart *c, const struct axis *a, int n)
{
    size_t longest = 0;
    for (int k = 0; k <= n; k++) {
        struct uqm_number_text buf;
        const size_t len = strlen(uqm_unit_tick(&buf, c->unit, a->lo + k * a->step, a->step));
        longest = len > longest ? len : longest;
    }
    const double room = (PLOT_END - PLOT) / (double) (n > 0 ? n : 1);
    /* One that ends at the edge is moved by as much as it would have left the picture. */
    return (int) ceil((double) (CHARACTER * (longest + 2) + 8) / room);
}

/* A text below the axis; one that would leave the picture on the right ends at its edge. */
static void draw_tick(struct uqm_html *h, double x, double y, const char *text)
{
    const bool leaves = x + CHARACTER * (double) strlen(text) / 2 > WIDTH;
    text_at(h, leaves ? "tick last" : "tick", leaves ? WIDTH - 1 : x, y, text);
}

static void draw_axis(struct uqm_html *h, const struct uqm_row_chart *c, const struct axis *a)
{
    double bottom = y_of(c->n) - ROW / 2.0;
    const int n = (int) lround((a->hi - a->lo) / a->step), every = ticks_apart(c, a, n);
    for (int k = 0; k <= n; k += every) {
        struct uqm_number_text buf;
        double v = a->lo + k * a->step;
        line(h, "grid", x_of(a, v), TOP, x_of(a, v), bottom);
        draw_tick(h, x_of(a, v), bottom + 13, uqm_unit_tick(&buf, c->unit, v, a->step));
    }
    char what[200];
    const char *unit = uqm_unit_title(c->unit);
    const bool stops = c->stop_row > 0 && c->stop_row <= c->n && c->stop;
    snprintf(what, sizeof what, "%s%s%s%s%s%s%s%s%s", c->axis ? c->axis : "",
             c->axis && unit[0] ? ", " : "", unit, c->error ? "; bars: " : "",
             c->error ? c->error : "", stops ? "; dashed: " : "", stops ? c->stop : "",
             has_rule(c) ? "; dashed: " : "", has_rule(c) ? c->rule_name : "");
    draw_tick(h, (PLOT + PLOT_END) / 2.0, bottom + 28, what);
}

static void draw_rules(struct uqm_html *h, const struct uqm_row_chart *c, const struct axis *a)
{
    if (has_rule(c))
        line(h, "stop", x_of(a, c->rule), TOP, x_of(a, c->rule), y_of(c->n) - ROW / 2.0);
    if (c->stop_row < 1 || c->stop_row > c->n)
        return;
    double y = y_of(c->stop_row - 1) - ROW / 2.0;
    line(h, "stop", 4, y, PLOT_END, y);
}

static void draw_line(struct uqm_html *h, const struct uqm_row_chart *c, const struct axis *a)
{
    for (size_t i = 1; c->line && i < c->n; i++) {
        double v = c->rows[i - 1].value, w = c->rows[i].value;
        if (uqm_can_draw(v) && uqm_can_draw(w))
            line(h, "joined", x_of(a, v), y_of(i - 1), x_of(a, w), y_of(i));
    }
}

static void draw_value(struct uqm_html *h, const struct uqm_row_chart *c, const struct axis *a,
                       size_t i)
{
    const struct uqm_chart_row *r = &c->rows[i];
    const double x = x_of(a, r->value), y = y_of(i), zero = x_of(a, 0);
    if (c->bars) {
        uqm_html_open(h, "rect");
        uqm_html_attr(h, "class", r->strong ? "bar strong" : "bar");
        uqm_html_attrf(h, "x", "%.1f", x < zero ? x : zero);
        uqm_html_attrf(h, "y", "%.1f", y - 6);
        uqm_html_attrf(h, "width", "%.1f", fmax(fabs(x - zero), 1)); /* zero can be seen, too */
        uqm_html_attr(h, "height", "12");
        uqm_html_end(h);
    } else {
        uqm_html_open(h, "circle");
        uqm_html_attr(h, "class", r->strong ? "dot strong" : "dot");
        uqm_html_attrf(h, "cx", "%.1f", x);
        uqm_html_attrf(h, "cy", "%.1f", y);
        uqm_html_attr(h, "r", "4");
        uqm_html_end(h);
    }
    if (c->error && uqm_can_draw(r->error) && fabs(r->error) > 0) {
        double e = fabs(r->error), from = x_of(a, r->value - e), to = x_of(a, r->value + e);
        line(h, "error", from, y, to, y);
        line(h, "error", from, y - 4, from, y + 4);
        line(h, "error", to, y - 4, to, y + 4);
    }
}

static void draw_row(struct uqm_html *h, const struct uqm_row_chart *c, const struct axis *a,
                     size_t i)
{
    const struct uqm_chart_row *r = &c->rows[i];
    struct uqm_short_text label;
    struct uqm_number_text value, error;
    uqm_html_open(h, "g");
    uqm_html_open(h, "title");
    uqm_html_textf(h, "%s: %s %s", r->label, uqm_unit_format(&value, c->unit, r->value),
                   uqm_unit_title(c->unit));
    if (c->error && uqm_can_draw(r->error))
        uqm_html_textf(h, " \u00b1 %s", uqm_unit_format(&error, c->unit, r->error));
    uqm_html_close(h);
    text_at(h, r->strong ? "label strong" : "label", LABELS, y_of(i) + 4,
            uqm_shorten(&label, r->label, LABEL_WIDTH, r->strong));
    if (uqm_can_draw(r->value))
        draw_value(h, c, a, i);
    else
        text_at(h, "tick", PLOT + 6, y_of(i) + 4, "\u2013");
    uqm_html_close(h);
}

void uqm_chart_rows(struct uqm_html *h, const struct uqm_row_chart *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += uqm_can_draw(c->rows[i].value) ? 1 : 0;
    if (n == 0 || c->n > UQM_CHART_MAX_ROWS) {
        uqm_html_open(h, "p");
        uqm_html_attr(h, "class", "note");
        uqm_html_textf(
            h, n ? "%s: too many rows to draw; the table has them." : "%s: no numbers to draw.",
            c->title);
        uqm_html_close(h);
        return;
    }
    const struct axis a = make_axis(c);
    begin_figure(h, c->title, TOP + ROW * (int) c->n + AXIS, WIDTH);
    draw_axis(h, c, &a);
    draw_line(h, c, &a);
    for (size_t i = 0; i < c->n; i++)
        draw_row(h, c, &a, i);
    draw_rules(h, c, &a);
    end_figure(h);
}

/* --- heat maps --- */

enum { HEAT_ROW = 18, HEAT_HEAD = 74, HEAT_LEAST = 26 };

/* Black or white, by which stands out: light's and dark's cells change over at these opacities. */
static const char *heat_text_class(double opacity)
{
    return opacity < 0.615 ? "heattext" : opacity < 0.845 ? "heattext mid" : "heattext over";
}

static void heat_cell(struct uqm_html *h, const struct uqm_heat_chart *c, size_t r, size_t k,
                      double most, double cell)
{
    const double v = c->values[r * c->n_columns + k];
    struct uqm_number_text text;
    if (!uqm_can_draw(v))
        return;
    const double opacity = 0.04 + 0.96 * (most > 0 ? fabs(v) / most : 0);
    const double x = PLOT + cell * (double) k, y = HEAT_HEAD + HEAT_ROW * (double) r;
    uqm_html_open(h, "g");
    uqm_html_open(h, "title");
    uqm_html_textf(h, "%s, %s: %s %s", c->row_labels[r], c->column_labels[k],
                   uqm_unit_format(&text, c->unit, v), uqm_unit_title(c->unit));
    uqm_html_close(h);
    uqm_html_open(h, "rect");
    uqm_html_attr(h, "class", "heat");
    uqm_html_attrf(h, "fill-opacity", "%.3f", opacity);
    uqm_html_attrf(h, "x", "%.1f", x + 0.5);
    uqm_html_attrf(h, "y", "%.1f", y + 0.5);
    uqm_html_attrf(h, "width", "%.1f", cell - 1);
    uqm_html_attrf(h, "height", "%d", HEAT_ROW - 1);
    uqm_html_end(h);
    if (cell >= 42)
        text_at(h, heat_text_class(opacity), x + cell / 2, y + 13,
                uqm_unit_format(&text, c->unit, v));
    uqm_html_close(h);
}

static void heat_heads(struct uqm_html *h, const struct uqm_heat_chart *c, double cell)
{
    struct uqm_short_text label;
    for (size_t k = 0; k < c->n_columns; k++) {
        double x = PLOT + cell * ((double) k + 0.5);
        uqm_html_open(h, "text");
        uqm_html_attr(h, "class", "head");
        uqm_html_attrf(h, "transform", "translate(%.1f %d) rotate(-50)", x + 3, HEAT_HEAD - 5);
        uqm_html_text(h, uqm_shorten(&label, c->column_labels[k], HEAD_WIDTH, false));
        uqm_html_close(h);
    }
    for (size_t r = 0; r < c->n_rows; r++)
        text_at(h, "label", LABELS, HEAT_HEAD + HEAT_ROW * (double) r + 13,
                uqm_shorten(&label, c->row_labels[r], LABEL_WIDTH, false));
}

void uqm_chart_heat(struct uqm_html *h, const struct uqm_heat_chart *c)
{
    double most = 0;
    for (size_t i = 0; i < c->n_rows * c->n_columns; i++)
        if (uqm_can_draw(c->values[i]) && fabs(c->values[i]) > most)
            most = fabs(c->values[i]);
    if (c->n_rows == 0 || c->n_columns == 0 || c->n_rows > UQM_CHART_MAX_ROWS ||
        c->n_columns > UQM_CHART_MAX_COLUMNS) {
        uqm_html_open(h, "p");
        uqm_html_attr(h, "class", "note");
        uqm_html_textf(h, "%s: %s", c->title,
                       c->n_rows && c->n_columns ? "too many cells to draw; the table has them."
                                                 : "nothing to draw.");
        uqm_html_close(h);
        return;
    }
    /* Slanted heads lean out to the right of the last column. */
    double cell = (WIDTH - 52.0 - PLOT) / (double) c->n_columns;
    cell = cell < HEAT_LEAST ? HEAT_LEAST : cell > 64 ? 64 : cell;
    const int width = (int) ceil(PLOT + cell * (double) c->n_columns + 52);
    struct uqm_number_text text;
    char scale[200];
    begin_figure(h, c->title, HEAT_HEAD + HEAT_ROW * (int) c->n_rows + 22,
                 width < WIDTH ? WIDTH : width);
    heat_heads(h, c, cell);
    for (size_t r = 0; r < c->n_rows; r++)
        for (size_t k = 0; k < c->n_columns; k++)
            heat_cell(h, c, r, k, most, cell);
    snprintf(scale, sizeof scale, "%s: pale 0, full %s", c->what,
             uqm_unit_format(&text, c->unit, most));
    text_at(h, "scale", 8, HEAT_HEAD + HEAT_ROW * (double) c->n_rows + 15, scale);
    end_figure(h);
}
