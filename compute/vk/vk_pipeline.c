/* Pipelines by kernel, made once each, and the driver's cache of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compute/vk/shader_table.h"
#include "compute/vk/vk_core.h"

static bool same_kernel(const struct uqm_vk_kernel *a, const struct uqm_vk_kernel *b)
{
    return strcmp(a->shader, b->shader) == 0 && a->n_spec == b->n_spec &&
           memcmp(a->spec, b->spec, a->n_spec * sizeof a->spec[0]) == 0 &&
           a->n_bindings == b->n_bindings && a->texel_mask == b->texel_mask &&
           a->push_bytes == b->push_bytes && a->subgroup_size == b->subgroup_size;
}

static const struct uqm_vk_shader *find_shader(const char *name)
{
    for (size_t i = 0; i < uqm_vk_n_shaders; i++)
        if (strcmp(uqm_vk_shaders[i].name, name) == 0)
            return &uqm_vk_shaders[i];
    return NULL;
}

bool uqm_vk_has_shader(const char *name)
{
    return find_shader(name);
}

/* ---- layouts ---- */

static int create_layout(struct uqm_vk *vk, struct uqm_vk_layout *layout, struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    VkDescriptorSetLayoutBinding bindings[UQM_VK_MAX_BINDINGS];
    for (uint32_t i = 0; i < layout->n_bindings; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType = layout->texel_mask >> i & 1 ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
                                                          : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        };
    VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = layout->n_bindings,
        .pBindings = bindings,
    };
    int ret = uqm_vk_check(
        vk, core->api.CreateDescriptorSetLayout(core->device, &set, NULL, &layout->set), err,
        "a layout of %u bindings", layout->n_bindings);
    if (ret < 0)
        return ret;
    VkPushConstantRange push = { VK_SHADER_STAGE_COMPUTE_BIT, 0, layout->push_bytes };
    VkPipelineLayoutCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1,
        .pSetLayouts = &layout->set,
        .pushConstantRangeCount = layout->push_bytes ? 1 : 0,
        .pPushConstantRanges = &push,
    };
    ret = uqm_vk_check(
        vk, core->api.CreatePipelineLayout(core->device, &create, NULL, &layout->pipeline), err,
        "a pipeline's layout");
    if (ret < 0)
        core->api.DestroyDescriptorSetLayout(core->device, layout->set, NULL);
    return ret;
}

static int get_layout(const struct uqm_vk_layout **out, struct uqm_vk *vk,
                      const struct uqm_vk_kernel *kernel, struct uqm_err *err)
{
    struct uqm_vk_pipelines *p = &vk->core->pipelines;
    for (size_t i = 0; i < p->n_layouts; i++)
        if (p->layouts[i]->n_bindings == kernel->n_bindings &&
            p->layouts[i]->texel_mask == kernel->texel_mask &&
            p->layouts[i]->push_bytes == kernel->push_bytes) {
            *out = p->layouts[i];
            return UQM_OK;
        }
    assert(p->n_layouts < sizeof p->layouts / sizeof p->layouts[0]);
    struct uqm_vk_layout *layout = calloc(1, sizeof *layout);
    if (!layout)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", vk->device.id);
    layout->n_bindings = kernel->n_bindings;
    layout->texel_mask = kernel->texel_mask;
    layout->push_bytes = kernel->push_bytes;
    int ret = create_layout(vk, layout, err);
    if (ret < 0) {
        free(layout);
        return ret;
    }
    *out = p->layouts[p->n_layouts++] = layout;
    return UQM_OK;
}

/* ---- pipelines ---- */

/* Leaves handle and reason. */
static void compile(struct uqm_vk_core *core, struct uqm_vk_pipeline *pipeline)
{
    const struct uqm_vk_kernel *k = &pipeline->kernel;
    const struct uqm_vk_shader *shader = find_shader(k->shader);
    VkShaderModule module;
    VkSpecializationMapEntry entries[UQM_VK_MAX_SPEC];
    assert(shader);
    VkShaderModuleCreateInfo code = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = shader->n_bytes,
        .pCode = shader->code,
    };
    pipeline->reason = core->api.CreateShaderModule(core->device, &code, NULL, &module);
    if (pipeline->reason != VK_SUCCESS)
        return;
    for (uint32_t i = 0; i < k->n_spec; i++)
        entries[i] = (VkSpecializationMapEntry){ i, i * 4, 4 };
    VkSpecializationInfo spec = { k->n_spec, entries, k->n_spec * 4u, k->spec };
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = k->subgroup_size,
    };
    VkComputePipelineCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {
            .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .pNext = k->subgroup_size ? &size : NULL,
            .flags = k->subgroup_size
                         ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT
                         : 0,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT,
            .module = module,
            .pName = "main",
            .pSpecializationInfo = &spec,
        },
        .layout = pipeline->layout->pipeline,
    };
    pipeline->reason = core->api.CreateComputePipelines(core->device, core->pipelines.cache, 1,
                                                        &create, NULL, &pipeline->handle);
    if (pipeline->reason != VK_SUCCESS)
        pipeline->handle = VK_NULL_HANDLE;
    core->api.DestroyShaderModule(core->device, module, NULL);
}

static struct uqm_vk_pipeline *find_pipeline(const struct uqm_vk_pipelines *p,
                                             const struct uqm_vk_kernel *kernel)
{
    for (size_t i = 0; i < p->n; i++)
        if (same_kernel(&p->list[i]->kernel, kernel))
            return p->list[i];
    return NULL;
}

/* An entry that compile() fills. */
static int add_pipeline(struct uqm_vk_pipeline **out, struct uqm_vk *vk,
                        const struct uqm_vk_kernel *kernel, struct uqm_err *err)
{
    struct uqm_vk_pipelines *p = &vk->core->pipelines;
    assert(find_shader(kernel->shader));
    assert(kernel->n_bindings <= vk->limits.max_bindings && kernel->n_spec <= UQM_VK_MAX_SPEC &&
           kernel->push_bytes <= UQM_VK_MAX_PUSH);
    assert(!kernel->subgroup_size || (kernel->subgroup_size >= vk->limits.subgroup_min &&
                                      kernel->subgroup_size <= vk->limits.subgroup_max));
    if (p->n == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 32;
        struct uqm_vk_pipeline **list = realloc(p->list, capacity * sizeof(*list));
        if (!list)
            return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", vk->device.id);
        p->list = list;
        p->capacity = capacity;
    }
    const struct uqm_vk_layout *layout;
    int ret = get_layout(&layout, vk, kernel, err);
    if (ret < 0)
        return ret;
    struct uqm_vk_pipeline *pipeline = calloc(1, sizeof *pipeline);
    if (!pipeline)
        return uqm_fail(err, UQM_ERR_NOMEM, "%s: no memory", vk->device.id);
    pipeline->kernel = *kernel;
    pipeline->layout = layout;
    *out = p->list[p->n++] = pipeline;
    return UQM_OK;
}

/* A pipeline that ran out of memory is tried again the next time it is wanted. */
static void drop_last(struct uqm_vk_pipelines *p)
{
    free(p->list[--p->n]);
}

static int refused(struct uqm_vk *vk, const struct uqm_vk_pipeline *pipeline, struct uqm_err *err)
{
    const struct uqm_vk_kernel *k = &pipeline->kernel;
    if (pipeline->reason == VK_ERROR_OUT_OF_HOST_MEMORY ||
        pipeline->reason == VK_ERROR_OUT_OF_DEVICE_MEMORY ||
        pipeline->reason == VK_ERROR_DEVICE_LOST)
        return uqm_vk_check(vk, pipeline->reason, err, "a pipeline of %s", k->shader);
    return uqm_fail(err, UQM_ERR_UNSUPPORTED, "%s (%s): the driver refuses the kernel %s: %s",
                    vk->device.id, vk->device.name, k->shader,
                    uqm_vk_result_name(pipeline->reason));
}

int uqm_vk_pipeline_get(const struct uqm_vk_pipeline **out, struct uqm_vk *vk,
                        const struct uqm_vk_kernel *kernel, struct uqm_err *err)
{
    struct uqm_vk_pipelines *p = &vk->core->pipelines;
    struct uqm_vk_pipeline *pipeline = find_pipeline(p, kernel);
    if (!pipeline) {
        int ret = add_pipeline(&pipeline, vk, kernel, err);
        if (ret < 0)
            return ret;
        compile(vk->core, pipeline);
    }
    if (!pipeline->handle) {
        int ret = refused(vk, pipeline, err);
        if (ret != UQM_ERR_UNSUPPORTED)
            drop_last(p);
        return ret;
    }
    *out = pipeline;
    return UQM_OK;
}

int uqm_vk_pipelines_init(struct uqm_vk *vk, const void *cached, size_t n_cached,
                          struct uqm_err *err)
{
    struct uqm_vk_core *core = vk->core;
    VkPipelineCacheCreateInfo create = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = n_cached,
        .pInitialData = cached,
    };
    return uqm_vk_check(
        vk, core->api.CreatePipelineCache(core->device, &create, NULL, &core->pipelines.cache), err,
        "a pipeline cache");
}

void uqm_vk_pipelines_finish(struct uqm_vk *vk)
{
    struct uqm_vk_core *core = vk->core;
    struct uqm_vk_pipelines *p = &core->pipelines;
    for (size_t i = 0; i < p->n; i++) {
        if (p->list[i]->handle)
            core->api.DestroyPipeline(core->device, p->list[i]->handle, NULL);
        free(p->list[i]);
    }
    free(p->list);
    for (size_t i = 0; i < p->n_layouts; i++) {
        core->api.DestroyPipelineLayout(core->device, p->layouts[i]->pipeline, NULL);
        core->api.DestroyDescriptorSetLayout(core->device, p->layouts[i]->set, NULL);
        free(p->layouts[i]);
    }
    if (p->cache)
        core->api.DestroyPipelineCache(core->device, p->cache, NULL);
    *p = (struct uqm_vk_pipelines){ 0 };
}
