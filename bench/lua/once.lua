-- Asks for each path of a list once, in their order. wrk calls init with what follows `--`: the list's file.
local paths, asked = {}, 0

function init(arguments)
    for line in io.lines(arguments[1]) do
        paths[#paths + 1] = line
    end
end

function request()
    asked = asked + 1
    -- In parentheses: assert gives its message back too.
    return wrk.format("GET", (assert(paths[asked], "the list is too short")))
end
