# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Completion of cocoon(1) for bash: commands, options, key kinds, layouts and files.

_cocoon() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
	local remote='--plain-http --ca --authfile --help' sealed='--key --platform --quiet'

	COMPREPLY=()
	# bash parts words at colons: file:PATH is three of them
	if [ "$prev" = : ]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	fi
	if [ "$cur" = : ]; then
		mapfile -t COMPREPLY < <(compgen -f)
		return
	fi
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W 'keygen convert optimize inspect verify export mount pull --help --version' -- "$cur")
		return
	fi
	case $prev in
	--recipient)
		mapfile -t COMPREPLY < <(
			compgen -W 'provider:attestation-agent:' -- "$cur"
			compgen -f -- "$cur"
		)
		return
		;;
	--host)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W 'unix: vsock: tls:' -- "$cur")
		return
		;;
	--tls-identity | --image-key | --domain | --startup | --record | --policy | --ca | --authfile)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--key)
		compopt -o nospace
		mapfile -t COMPREPLY < <(compgen -W 'file: recipient: cdh' -- "$cur")
		return
		;;
	--pad)
		mapfile -t COMPREPLY < <(compgen -W 'none padme' -- "$cur")
		return
		;;
	--platform)
		mapfile -t COMPREPLY < <(compgen -W 'linux/amd64 linux/arm64' -- "$cur")
		return
		;;
	--public)
		mapfile -t COMPREPLY < <(compgen -W 'all Env Entrypoint Cmd WorkingDir Labels ExposedPorts Volumes StopSignal created history' -- "$cur")
		return
		;;
	--front)
		mapfile -t COMPREPLY < <(compgen -W 'auto block loop tree' -- "$cur")
		return
		;;
	esac
	case $command:$cur in
	convert:-*)
		mapfile -t COMPREPLY < <(compgen -W "--recipient --image-key --domain --platform --public --startup --level --pad --threads --mount-from --quiet --json $remote" -- "$cur")
		;;
	optimize:-*)
		mapfile -t COMPREPLY < <(compgen -W "--period --record --recipient --image-key --domain --platform --public --level --pad --threads --mount-from --quiet --json $remote" -- "$cur")
		;;
	inspect:-*) mapfile -t COMPREPLY < <(compgen -W "$sealed --json $remote" -- "$cur") ;;
	verify:-* | export:-*) mapfile -t COMPREPLY < <(compgen -W "$sealed --policy $remote" -- "$cur") ;;
	mount:-*) mapfile -t COMPREPLY < <(compgen -W '--key --host --tls-identity --digest --policy --front --cache-size --timeout --wait --foreground --help' -- "$cur") ;;
	pull:-*) mapfile -t COMPREPLY < <(compgen -W "--address --namespace --snapshotter --platform --json --quiet $remote" -- "$cur") ;;
	keygen:*)
		if [ "$COMP_CWORD" = 2 ]; then
			mapfile -t COMPREPLY < <(compgen -W 'domain image recipient --help' -- "$cur")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		fi
		;;
	*)
		mapfile -t COMPREPLY < <(
			compgen -W 'oci:' -- "$cur"
			compgen -f -- "$cur"
		)
		;;
	esac
}

complete -o filenames -F _cocoon cocoon
