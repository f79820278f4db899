#include "compute/vk/vk_hazard.h"
#include "tests/unit/test.h"

/* Words of a made-up memory, one bit of what happened to each since the last barrier. */
enum { N_WORDS = 600, SINCE_READ = 1, SINCE_WRITE = 2 };

static struct uqm_memory *made_up(unsigned i)
{
    return (struct uqm_memory *) (uintptr_t) (4096 * (i + 1));
}

static uint32_t draw(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % n;
}

static struct uqm_vk_binding some_binding(uint32_t *seed)
{
    static const uint32_t strides[] = { 16, 16, 16, 24 };
    struct uqm_vk_binding b = { .access = draw(seed, 2) ? UQM_VK_READ : UQM_VK_WRITE };
    struct uqm_vk_slice *s = &b.slice;
    s->place.memory = made_up(draw(seed, 2));
    s->place.at = draw(seed, 100);
    if (draw(seed, 3) == 0) {
        s->n_words = 1 + draw(seed, 60);
        s->width = s->n_words;
        return b;
    }
    s->stride = strides[draw(seed, 4)];
    s->width = 1 + draw(seed, (uint32_t) s->stride);
    s->n_words = draw(seed, 8) * s->stride + s->width;
    return b;
}

static bool covers(const struct uqm_vk_slice *s, uint64_t word)
{
    if (word < s->place.at || word >= s->place.at + s->n_words)
        return false;
    return !s->stride || (word - s->place.at) % s->stride < s->width;
}

static bool share_a_word(const struct uqm_vk_slice *a, const struct uqm_vk_slice *b)
{
    for (uint64_t w = 0; w < N_WORDS; w++)
        if (a->place.memory == b->place.memory && covers(a, w) && covers(b, w))
            return true;
    return false;
}

static void slices_that_share_a_word_overlap(void **state)
{
    uint32_t seed = 1, n_apart = 0;
    (void) state;
    for (int i = 0; i < 20000; i++) {
        struct uqm_vk_binding a = some_binding(&seed), b = some_binding(&seed);
        bool overlap = uqm_vk_slices_overlap(&a.slice, &b.slice);
        assert_int_equal(overlap, uqm_vk_slices_overlap(&b.slice, &a.slice));
        if (share_a_word(&a.slice, &b.slice))
            assert_true(overlap);
        n_apart += !overlap && a.slice.place.memory == b.slice.place.memory;
    }
    assert_true(n_apart > 1000);
}

static void neighbouring_columns_of_one_matrix_do_not_overlap(void **state)
{
    struct uqm_memory *m = made_up(0);
    struct uqm_vk_slice left = { { m, 5 }, 3 * 16 + 4, 4, 16 };
    struct uqm_vk_slice right = { { m, 9 }, 3 * 16 + 12, 12, 16 };
    struct uqm_vk_slice both = { { m, 8 }, 3 * 16 + 2, 2, 16 };
    (void) state;
    assert_false(uqm_vk_slices_overlap(&left, &right));
    assert_true(uqm_vk_slices_overlap(&left, &both));
    assert_true(uqm_vk_slices_overlap(&right, &both));
    right.place.memory = made_up(1);
    assert_false(uqm_vk_slices_overlap(&right, &both));
}

/* An independent account, word by word: without a barrier no command may read a word that was
 * written, or write one that was touched, since the last barrier. */
static void a_barrier_comes_before_every_conflict(void **state)
{
    static uint8_t since[2][N_WORDS];
    struct uqm_vk_hazards hazards = { .n = 0 };
    uint32_t seed = 3, n_barriers = 0, n_commands = 0;
    (void) state;
    memset(since, 0, sizeof since);
    for (int i = 0; i < 20000; i++) {
        struct uqm_vk_binding b[4];
        size_t n = 1 + draw(&seed, 4);
        for (size_t k = 0; k < n; k++)
            b[k] = some_binding(&seed);
        if (!uqm_vk_bindings_agree(b, n))
            continue;
        n_commands++;
        if (uqm_vk_hazards_next(&hazards, b, n)) {
            memset(since, 0, sizeof since);
            n_barriers++;
        }
        for (size_t k = 0; k < n; k++)
            for (uint64_t w = 0; w < N_WORDS; w++)
                if (covers(&b[k].slice, w)) {
                    uint8_t was = since[b[k].slice.place.memory == made_up(1)][w];
                    assert_false(was & SINCE_WRITE);
                    assert_false(was && b[k].access == UQM_VK_WRITE);
                }
        for (size_t k = 0; k < n; k++)
            for (uint64_t w = 0; w < N_WORDS; w++)
                if (covers(&b[k].slice, w))
                    since[b[k].slice.place.memory == made_up(1)][w] |=
                        b[k].access == UQM_VK_WRITE ? SINCE_WRITE : SINCE_READ;
    }
    assert_true(n_commands > 2000 && n_barriers > 100 && n_barriers < n_commands);
}

static void readers_of_one_slice_need_no_barrier(void **state)
{
    struct uqm_vk_hazards hazards = { .n = 0 };
    struct uqm_vk_binding b = { { { made_up(0), 0 }, 64, 64, 0 },
                                UQM_VK_WRITE,
                                VK_FORMAT_UNDEFINED };
    (void) state;
    assert_false(uqm_vk_hazards_next(&hazards, &b, 1));
    assert_true(uqm_vk_hazards_next(&hazards, &b, 1)); /* write after write */
    b.access = UQM_VK_READ;
    assert_true(uqm_vk_hazards_next(&hazards, &b, 1));
    for (int i = 0; i < UQM_VK_MAX_ACCESSES - 1; i++)
        assert_false(uqm_vk_hazards_next(&hazards, &b, 1));
    assert_true(uqm_vk_hazards_next(&hazards, &b, 1)); /* the list is full: anew */
    b.access = UQM_VK_WRITE;
    assert_true(uqm_vk_hazards_next(&hazards, &b, 1)); /* write after read */
}

static void freed_memory_is_forgotten(void **state)
{
    struct uqm_vk_hazards hazards = { .n = 0 };
    struct uqm_vk_binding b[2] = {
        { { { made_up(0), 0 }, 64, 64, 0 }, UQM_VK_WRITE, VK_FORMAT_UNDEFINED },
        { { { made_up(1), 0 }, 64, 64, 0 }, UQM_VK_WRITE, VK_FORMAT_UNDEFINED },
    };
    (void) state;
    assert_false(uqm_vk_hazards_next(&hazards, b, 2));
    uqm_vk_hazards_forget(&hazards, made_up(0));
    assert_false(uqm_vk_hazards_next(&hazards, &b[0], 1));
    assert_true(uqm_vk_hazards_next(&hazards, &b[1], 1));
}

static void one_command_writes_what_it_reads_only_in_place(void **state)
{
    struct uqm_vk_binding in_place[2] = {
        { { { made_up(0), 8 }, 64, 64, 0 }, UQM_VK_READ, VK_FORMAT_UNDEFINED },
        { { { made_up(0), 8 }, 64, 64, 0 }, UQM_VK_WRITE, VK_FORMAT_UNDEFINED },
    };
    (void) state;
    assert_true(uqm_vk_bindings_agree(in_place, 2));
    in_place[1].slice.place.at++;
    assert_false(uqm_vk_bindings_agree(in_place, 2));
    in_place[1].access = UQM_VK_READ;
    assert_true(uqm_vk_bindings_agree(in_place, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_that_share_a_word_overlap),
        cmocka_unit_test(neighbouring_columns_of_one_matrix_do_not_overlap),
        cmocka_unit_test(a_barrier_comes_before_every_conflict),
        cmocka_unit_test(readers_of_one_slice_need_no_barrier),
        cmocka_unit_test(freed_memory_is_forgotten),
        cmocka_unit_test(one_command_writes_what_it_reads_only_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
