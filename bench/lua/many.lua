-- Asks for the paths of a list in random order. wrk calls init with what follows `--`: the list's file.
local paths = {}

function init(arguments)
    for line in io.lines(arguments[1]) do
        paths[#paths + 1] = line
    end
    math.randomseed(1)
end

function request()
    return wrk.format("GET", paths[math.random(#paths)])
end
