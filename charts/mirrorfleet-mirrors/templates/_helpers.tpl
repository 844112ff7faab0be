{{/* Metadata of an object: a list of the root, of its name, and of what is said of it. Ours win. */}}
{{- define "mirrorfleet-mirrors.metadata" -}}
{{- $root := index . 0 -}}
{{- $given := index . 2 -}}
{{- $ours := dict "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63) -}}
{{- $_ := set $ours "app.kubernetes.io/instance" $root.Release.Name -}}
{{- $_ := set $ours "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $annotations := merge (dict) ($given.annotations | default dict) $root.Values.commonAnnotations -}}
{{- if $root.Values.keep -}}
{{- $_ := set $annotations "helm.sh/resource-policy" "keep" -}}
{{- end -}}
name: {{ index . 1 | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- merge $ours ($given.labels | default dict) $root.Values.commonLabels | toYaml | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
