#include "tools/commands.h"
#include "tools/text.h"

void print_verify(FILE *out, const json_t *r, unsigned flags)
{
    print_plan(out, r, flags);
}
