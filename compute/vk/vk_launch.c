#include "compute/vk/vk_launch.h"

#include "compute/vk/vk_core.h"
#include "src/base/checked.h"

enum { FOLD = 65535, FLAT_LOCAL = 64, TEAM_LOCAL = 256 };

/* Subgroups in a workgroup while their size is pinned: no device that can pin has fewer. */
enum { PINNED_SUBGROUPS = 16 };

static uint32_t power_of_two_below(uint64_t most)
{
    uint32_t p = 1;
    while ((uint64_t) p * 2 <= most)
        p *= 2;
    return p;
}

static uint32_t most_local(const struct uqm_vk *vk)
{
    return (uint32_t) uqm_min_u64(vk->limits.max_invocations, vk->limits.max_local[0]);
}

uint32_t uqm_vk_flat_local(const struct uqm_vk *vk)
{
    return power_of_two_below(uqm_min_u64(most_local(vk), FLAT_LOCAL));
}

uint32_t uqm_vk_pinned_subgroup(const struct uqm_vk *vk, uint32_t local)
{
    const struct uqm_vk_limits *l = &vk->limits;
    bool can = l->subgroup_min && l->subgroup_size >= l->subgroup_min &&
               l->subgroup_size <= l->subgroup_max && local % l->subgroup_size == 0 &&
               local / l->subgroup_size <= PINNED_SUBGROUPS;
    return can ? l->subgroup_size : 0;
}

struct uqm_vk_team uqm_vk_team(const struct uqm_vk *vk)
{
    const struct uqm_vk_limits *l = &vk->limits;
    struct uqm_vk_team team = { .subgroups = l->subgroup_arithmetic };
    uint64_t most = uqm_min_u64(most_local(vk), TEAM_LOCAL);

    most = uqm_min_u64(most, l->shared_bytes / sizeof(float) / 2);
    team.local = power_of_two_below(most);
    if (team.subgroups && l->slow_shared && l->subgroup_size <= team.local)
        team.local = power_of_two_below(l->subgroup_size);
    if (team.subgroups) {
        if (team.local > l->subgroup_size)
            team.local = (uint32_t) uqm_min_u64(
                team.local, PINNED_SUBGROUPS * power_of_two_below(l->subgroup_size));
        team.subgroup_size = uqm_vk_pinned_subgroup(vk, team.local);
    }
    return team;
}

int uqm_vk_launch(struct uqm_vk *vk, const struct uqm_vk_launch *launch, struct uqm_err *err)
{
    uint64_t across = uqm_min_u64(launch->n_groups, FOLD);
    uint64_t down = (launch->n_groups + FOLD - 1) / FOLD;
    if (down > vk->limits.max_groups[1])
        return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s: %llu workgroups are more than %s can run",
                        launch->what, (unsigned long long) launch->n_groups, vk->device.name);
    const struct uqm_vk_dispatch dispatch = {
        .kernel = &launch->kernel,
        .what = launch->what,
        .bindings = launch->bindings,
        .push = launch->push,
        .groups = { (uint32_t) across, (uint32_t) down, 1 },
        .work = launch->work,
        .bytes = launch->bytes,
    };
    return uqm_vk_dispatch(vk, &dispatch, err);
}

int uqm_vk_rows_that_fit(size_t *out, const struct uqm_vk *vk, size_t width, size_t stride,
                         const char *what, struct uqm_err *err)
{
    uint64_t words = uqm_vk_range_words(vk);
    if (width > words)
        return uqm_fail(err, UQM_ERR_UNSUPPORTED,
                        "%s: a row of %zu words is longer than the %llu that %s can bind", what,
                        width, (unsigned long long) words, vk->device.name);
    *out = stride ? (size_t) ((words - width) / stride + 1) : SIZE_MAX;
    return UQM_OK;
}

uint64_t uqm_vk_words_from(struct uqm_place place)
{
    return place.memory->bytes / sizeof(uint32_t) - place.at;
}
