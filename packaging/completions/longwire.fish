# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_longwire_global_optspecs
    string join \n config= set= h/help V/version
end

function __fish_longwire_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_longwire_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_longwire_using_subcommand
    set -l cmd (__fish_longwire_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c longwire -n "__fish_longwire_needs_command" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_needs_command" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_needs_command" -s h -l help -d 'Print help'
complete -c longwire -n "__fish_longwire_needs_command" -s V -l version -d 'Print version'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "serve" -d 'Run the gateway (what `longwire` alone does too)'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "check" -d 'Check the configuration and print it with every default, secrets masked'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "token" -d 'Mint a token with the configured HS key'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "push" -d 'Push a message to a user, to a topic\'s subscribers, or to everybody'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "users" -d 'Show a user\'s connections'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "why" -d 'Show what became of a user\'s connections, and what each reason usually means'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "kick" -d 'Close all of a user\'s connections'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "drain" -d 'Drain the node: take nobody new, send everybody away, stop'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "doctor" -d 'Compare what this host allows with what so many connections need'
complete -c longwire -n "__fish_longwire_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c longwire -n "__fish_longwire_using_subcommand serve" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand serve" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c longwire -n "__fish_longwire_using_subcommand check" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand check" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c longwire -n "__fish_longwire_using_subcommand token" -l user -d 'Whom the token is for' -r
complete -c longwire -n "__fish_longwire_using_subcommand token" -l ttl -d 'How long it holds: a number and s, m, h or d' -r
complete -c longwire -n "__fish_longwire_using_subcommand token" -l paths -d 'A path that the client may send, exact or ending in *; may be repeated [default: auth.default_paths]' -r
complete -c longwire -n "__fish_longwire_using_subcommand token" -l topics -d 'A topic that the client may subscribe, exact or ending in *; may be repeated [default: auth.default_topics]' -r
complete -c longwire -n "__fish_longwire_using_subcommand token" -l device -d 'The device\'s name' -r
complete -c longwire -n "__fish_longwire_using_subcommand token" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand token" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand token" -s h -l help -d 'Print help'
complete -c longwire -n "__fish_longwire_using_subcommand push" -l user -d 'Every connection of this user; may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand push" -l topic -d 'Every connection that subscribed to this topic' -r
complete -c longwire -n "__fish_longwire_using_subcommand push" -l path -d 'What it is about: segments joined by /' -r
complete -c longwire -n "__fish_longwire_using_subcommand push" -l body -d 'Any JSON; a string wants its quotes [default: null]' -r
complete -c longwire -n "__fish_longwire_using_subcommand push" -l api -d 'The node\'s API [default: the configuration\'s api.listen, else http://127.0.0.1:9041]' -r
complete -c longwire -n "__fish_longwire_using_subcommand push" -l key -d 'One of api.keys [default: LONGWIRE_KEY, else the configuration\'s first if --api is not given]' -r
complete -c longwire -n "__fish_longwire_using_subcommand push" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand push" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand push" -l all -d 'Every connection that is logged in'
complete -c longwire -n "__fish_longwire_using_subcommand push" -s h -l help -d 'Print help'
complete -c longwire -n "__fish_longwire_using_subcommand users" -l api -d 'The node\'s API [default: the configuration\'s api.listen, else http://127.0.0.1:9041]' -r
complete -c longwire -n "__fish_longwire_using_subcommand users" -l key -d 'One of api.keys [default: LONGWIRE_KEY, else the configuration\'s first if --api is not given]' -r
complete -c longwire -n "__fish_longwire_using_subcommand users" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand users" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand users" -s h -l help -d 'Print help'
complete -c longwire -n "__fish_longwire_using_subcommand why" -l connection -d 'This connection alone, by the id that the client was told at its login' -r
complete -c longwire -n "__fish_longwire_using_subcommand why" -l limit -d 'The newest so many events' -r
complete -c longwire -n "__fish_longwire_using_subcommand why" -l api -d 'The node\'s API [default: the configuration\'s api.listen, else http://127.0.0.1:9041]' -r
complete -c longwire -n "__fish_longwire_using_subcommand why" -l key -d 'One of api.keys [default: LONGWIRE_KEY, else the configuration\'s first if --api is not given]' -r
complete -c longwire -n "__fish_longwire_using_subcommand why" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand why" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand why" -l json -d 'Print the API\'s answer instead'
complete -c longwire -n "__fish_longwire_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c longwire -n "__fish_longwire_using_subcommand kick" -l api -d 'The node\'s API [default: the configuration\'s api.listen, else http://127.0.0.1:9041]' -r
complete -c longwire -n "__fish_longwire_using_subcommand kick" -l key -d 'One of api.keys [default: LONGWIRE_KEY, else the configuration\'s first if --api is not given]' -r
complete -c longwire -n "__fish_longwire_using_subcommand kick" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand kick" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand kick" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c longwire -n "__fish_longwire_using_subcommand drain" -l api -d 'The node\'s API [default: the configuration\'s api.listen, else http://127.0.0.1:9041]' -r
complete -c longwire -n "__fish_longwire_using_subcommand drain" -l key -d 'One of api.keys [default: LONGWIRE_KEY, else the configuration\'s first if --api is not given]' -r
complete -c longwire -n "__fish_longwire_using_subcommand drain" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand drain" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand drain" -s h -l help -d 'Print help'
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -l connections -d 'How many connections this node is to hold [default: server.connections_max, else 10000]' -r
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -l pid -d 'The running longwire to look at, and its unit if it is one\'s [default: the unit\'s, else the first that is found]' -r
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -l nginx -d 'nginx\'s main file [default: /etc/nginx/nginx.conf where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -l root -d 'Look at a copy of a host\'s /proc, /sys, /etc and /run below this directory' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -l config -d 'The configuration file [default: /etc/longwire/longwire.toml where it is there]' -r -F
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -l set -d 'Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated' -r
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -l json -d 'Print JSON'
complete -c longwire -n "__fish_longwire_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "serve" -d 'Run the gateway (what `longwire` alone does too)'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "check" -d 'Check the configuration and print it with every default, secrets masked'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "token" -d 'Mint a token with the configured HS key'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "push" -d 'Push a message to a user, to a topic\'s subscribers, or to everybody'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "users" -d 'Show a user\'s connections'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "why" -d 'Show what became of a user\'s connections, and what each reason usually means'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "kick" -d 'Close all of a user\'s connections'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "drain" -d 'Drain the node: take nobody new, send everybody away, stop'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "doctor" -d 'Compare what this host allows with what so many connections need'
complete -c longwire -n "__fish_longwire_using_subcommand help; and not __fish_seen_subcommand_from serve check token push users why kick drain doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
