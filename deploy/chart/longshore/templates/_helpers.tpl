{{- define "longshore.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "longshore.labels" -}}
app.kubernetes.io/name: longshore
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "longshore.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "longshore.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "longshore.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Probes and ports of a process that speaks the protocol. A pod may take ten minutes to fetch its models. */}}
{{- define "longshore.probes" -}}
ports:
  - { name: http, containerPort: 8000 }
  - { name: grpc, containerPort: 8001 }
  - { name: metrics, containerPort: 8002 }
startupProbe: { httpGet: { path: {{ .ready }}, port: http }, periodSeconds: 2, failureThreshold: 300 }
readinessProbe: { httpGet: { path: {{ .ready }}, port: http }, periodSeconds: 2, failureThreshold: 2 }
livenessProbe: { httpGet: { path: /livez, port: http }, periodSeconds: 10, failureThreshold: 6, timeoutSeconds: 5 }
{{- end -}}

{{/* A pod that ends goes on serving until the cluster has stopped sending to it. */}}
{{- define "longshore.lifecycle" -}}
preStop: { sleep: { seconds: 3 } }
{{- end -}}

{{/* Options that servers and gateways share. Ports stay open for 5 s after SIGTERM, until the cluster sends nothing more. */}}
{{- define "longshore.online" -}}
- --port=8000
- --grpc-port=8001
- --metrics-port=8002
- --linger-seconds=5
{{- if .Values.identity.secret }}
- --identity=/etc/longshore/identity/identity.yaml
{{- else }}
- --insecure-no-identity
{{- end }}
{{- end -}}

{{- define "longshore.identityMount" -}}
{{- if .Values.identity.secret }}
- { name: identity, mountPath: /etc/longshore/identity, readOnly: true }
{{- end }}
{{- end -}}

{{- define "longshore.identityVolume" -}}
{{- if .Values.identity.secret }}
- name: identity
  secret: { secretName: {{ .Values.identity.secret | quote }} }
{{- end }}
{{- end -}}
