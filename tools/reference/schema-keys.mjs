/** Lists the keys of a valibot schema with what is said of each. */

/** The permitted values in a few words. */
function typeOf(schema) {
  const limits = limitsOf(schema);
  switch (schema.type) {
    case "optional":
      return typeOf(schema.wrapped);
    case "string":
      return "text";
    case "number": {
      const { integer, least, most } = limits;
      const kind = integer ? "whole number" : "number";
      if (least !== undefined && most !== undefined && most < 2 ** 31 - 1)
        return `${kind}, ${least} to ${most.toLocaleString("en")}`;
      return least === undefined ? kind : `${kind}, at least ${least}`;
    }
    case "boolean":
      return "`true` or `false`";
    case "literal":
      return `\`${schema.literal}\``;
    case "picklist":
      return schema.options.length > 12 ? "a datatype" : schema.options.map((one) => `\`${one}\``).join(", ");
    case "array":
      return `list of ${plural(schema.item)}`;
    case "record":
      return "mapping";
    case "strict_object":
      return "mapping";
    case "tuple":
      return "pair of numbers";
    case "union":
      return [...new Set(schema.options.map(typeOf))].join(", or ");
    case "custom":
      return "any value";
    default:
      throw new Error(`a schema of type ${schema.type} has no words here`);
  }
}

function plural(schema) {
  if (schema.type === "strict_object") return "mappings";
  const text = typeOf(schema);
  return text === "text" ? "texts" : text.replace(/^(whole )?number/, "$1numbers");
}

function limitsOf(schema) {
  /** @type {{ integer: boolean, least: number | undefined, most: number | undefined }} */
  const found = { integer: false, least: undefined, most: undefined };
  const visit = (one) => {
    for (const part of one.pipe ?? []) {
      if (part !== one && part.pipe) visit(part);
      if (part.type === "integer") found.integer = true;
      if (part.type === "min_value") found.least = part.requirement;
      if (part.type === "max_value") found.most = part.requirement;
    }
  };
  visit(schema);
  return found;
}

function sentenceOf(schema) {
  if (schema.type === "optional") return sentenceOf(schema.wrapped);
  const own = (schema.pipe ?? []).filter(({ type }) => type === "description").at(-1);
  return own?.description ?? "";
}

/** The mapping inside a schema, with what leads to it in a path. */
function inside(schema) {
  switch (schema.type) {
    case "optional":
      return inside(schema.wrapped);
    case "strict_object":
      return { at: "", schema };
    case "array": {
      const found = inside(schema.item);
      return found && { at: `[]${found.at}`, schema: found.schema };
    }
    case "record": {
      const found = inside(schema.value);
      return found && { at: `.<name>${found.at}`, schema: found.schema };
    }
    case "union":
      return schema.options.map(inside).find(Boolean);
    default:
      return undefined;
  }
}

/** Rows of a table: path, type, whether it must be there, sentence. */
export function keysOf(schema, prefix = "") {
  const rows = [];
  for (const [name, value] of Object.entries(schema.entries)) {
    const path = `${prefix}${prefix ? "." : ""}${name}`;
    rows.push({ path, type: typeOf(value), required: value.type !== "optional", about: sentenceOf(value) });
    const found = inside(value);
    if (found) rows.push(...keysOf(found.schema, `${path}${found.at}`));
  }
  return rows;
}
