import { join } from "node:path";
import { goPrograms } from "./go.ts";

const release = "v0.165.0";
const root = "go.opentelemetry.io/collector";
const files = "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter";

/** The core of the Collector with the receiver of OTLP and the exporter to files. Its own distributions are not Go modules. */
const main = `package main

import (
	"log"

	"${files}"
	"${root}/component"
	"${root}/confmap"
	"${root}/confmap/provider/fileprovider"
	"${root}/exporter"
	"${root}/otelcol"
	"${root}/receiver"
	"${root}/receiver/otlpreceiver"
	"${root}/service/telemetry/otelconftelemetry"
)

func factories() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](otlpreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](fileexporter.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	return otelcol.Factories{Receivers: receivers, Exporters: exporters, Telemetry: otelconftelemetry.NewFactory()}, nil
}

func main() {
	providers := []confmap.ProviderFactory{fileprovider.NewFactory()}
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "otelcol", Description: "OpenTelemetry Collector", Version: "${release}"},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{ProviderFactories: providers, DefaultScheme: "file"},
		},
	})
	if err := command.Execute(); err != nil {
		log.Fatal(err)
	}
}
`;

/** The OpenTelemetry Collector, built from its Go modules in some minutes. */
export async function collector(): Promise<string> {
  const folder = await goPrograms({
    name: "otelcol",
    module: `${root}/otelcol`,
    version: release,
    modules: { [`${root}/receiver/otlpreceiver`]: release, [files]: release },
    packages: { otelcol: "." },
    main,
  });
  return join(folder, "otelcol");
}
