-- Asks for random ranges of one file. What follows `--`: the file's size and a range's size.
local starts, width

function init(arguments)
    width = tonumber(arguments[2])
    starts = tonumber(arguments[1]) - width
    math.randomseed(1)
end

function request()
    local from = math.random(0, starts)
    return wrk.format("GET", nil, {["Range"] = string.format("bytes=%d-%d", from, from + width - 1)})
end
